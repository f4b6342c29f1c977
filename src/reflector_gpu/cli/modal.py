"""``modal deploy``: deploys the apps in ``modal_deployments`` with their secrets and weights.

The lines for Reflector's ``.env`` go to standard output, everything else to standard error.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import reflector_gpu
from reflector_gpu.errors import ConfigurationError, UpstreamFailed

if TYPE_CHECKING:
    from reflector_gpu.deploy.on_modal.server import ServerDeployment

_FOLDER = "modal_deployments"
_PREFIX = "reflector_"
_WORKSPACE = "<workspace>"

# What Reflector calls its services (its server/reflector/settings.py).
_VARIABLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "transcriber": (
        ("TRANSCRIPT_BACKEND", "modal"),
        ("TRANSCRIPT_URL", "{url}"),
        ("TRANSCRIPT_MODAL_API_KEY", "{key}"),
    ),
    "diarizer": (
        ("DIARIZATION_BACKEND", "modal"),
        ("DIARIZATION_URL", "{url}"),
        ("DIARIZATION_MODAL_API_KEY", "{key}"),
    ),
    "translator": (
        ("TRANSLATION_BACKEND", "modal"),
        ("TRANSLATE_URL", "{url}"),
        ("TRANSLATE_MODAL_API_KEY", "{key}"),
    ),
    "padding": (
        ("PADDING_URL", "{url}"),
        ("PADDING_MODAL_API_KEY", "{key}"),
        ("MODAL_API_KEY", "{key}"),  # the one that its padding processor reads
    ),
    "llm": (("LLM_URL", "{url}/v1"), ("LLM_MODEL", "llm"), ("LLM_API_KEY", "{key}")),
}


@dataclass(frozen=True)
class Target:
    """A file that declares an app."""

    file: Path

    @property
    def name(self) -> str:
        return self.file.stem.removeprefix(_PREFIX).replace("_", "-")

    @cached_property
    def deployment(self) -> ServerDeployment:
        """What the file declares.

        Raises:
            ReflectorError: a setting does not work.
        """
        spec = importlib.util.spec_from_file_location(self.file.stem, self.file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        deployment: ServerDeployment = module.deployment
        deployment.check_carried()
        return deployment

    @property
    def needs(self) -> str:
        """The command that uploads its model, if that is on no hub; else empty."""
        from reflector_gpu.deploy.modal_app import VOLUME

        folder = self.deployment.folder
        return f"modal volume put {VOLUME} FOLDER {folder}" if folder else ""

    def modal(self, command: str, function: str = "") -> list[str]:
        """The command line of Modal's own program."""
        return [sys.executable, "-m", "modal", command, f"{self.file}{function}"]


def run(names: Sequence[str], *, everything: bool, dry_run: bool) -> None:
    """Deploy the apps of these names, and print what Reflector needs to use them.

    Raises:
        ConfigurationError: Modal's package, a login, a token or an app is missing.
        ReflectorError: a setting does not work.
        UpstreamFailed: Modal refused, and said why on standard error.
    """
    if importlib.util.find_spec("modal") is None:
        raise ConfigurationError(
            "Deploying needs Modal's package: pip install 'reflector-gpu[modal]'"
        )
    targets = _chosen(names, everything=everything)
    plans = [line for target in targets for line in _plan(target)]
    if dry_run:
        address = f"https://{_WORKSPACE}--{{}}-web.modal.run"
        expected = {target.name: address.format(target.deployment.name) for target in targets}
        lines = [*_secrets_plan(targets), *plans, "", "then print for Reflector's .env:"]
        variables = [f"  {line}" for line in env_lines(expected, "<key>")]
        sys.stdout.write("\n".join([*lines, *variables, ""]))
        return
    targets = _with_models(targets)
    key = _prepare_secrets(targets)
    urls: dict[str, str] = {}
    try:
        for target in targets:
            if target.deployment.fetches_weights:
                _modal(target.modal("run", "::pull"), f"Fetching the weights for {target.name}")
            _modal(target.modal("deploy"), f"Deploying {target.name}")
            urls[target.name] = _url(target.deployment.name)
    finally:
        # Print even if something failed: the key is shown once, and some apps may be deployed.
        lines = list(env_lines(urls, key))
        if key and not urls:
            lines = [f"# the new key: {key}"]
        sys.stdout.write("\n".join([*lines, ""]))


def env_lines(urls: Mapping[str, str], key: str | None) -> Iterator[str]:
    """The lines of Reflector's ``.env`` for the apps at ``urls``, by their names.

    One of them has the key, and the others refer to it. ``key`` is None if it was made, and
    printed, by an earlier deployment.
    """
    told = ""
    for name, url in urls.items():
        capability, _, variant = name.partition("-")
        if variant and capability in urls:
            yield f"# or TRANSCRIPT_URL={url}"
            continue
        for variable, value in _VARIABLES[capability]:
            if "{key}" not in value:
                yield f"{variable}={value.format(url=url)}"
            elif told:
                yield f"{variable}=${{{told}}}"
            else:
                told = variable
                yield f"{variable}={key or '<the key that the secret reflector-gpu was made with>'}"


def _chosen(names: Sequence[str], *, everything: bool) -> list[Target]:
    known = {target.name: target for target in _targets()}
    if not (names or everything):
        raise ConfigurationError(f"Name apps, or pass --all: {', '.join(known)}.")
    if unknown := [name for name in names if name not in known]:
        raise ConfigurationError(
            f"There is no app '{unknown[0]}'; it is one of {', '.join(known)}."
        )
    return [known[name] for name in (known if everything else dict.fromkeys(names))]


def _targets() -> list[Target]:
    order = list(_VARIABLES)
    checkout = Path(reflector_gpu.__file__).parents[2]
    for folder in (Path(_FOLDER), checkout / _FOLDER):
        found = [Target(file) for file in folder.glob(f"{_PREFIX}*.py")]
        if found:
            return sorted(found, key=lambda one: (order.index(one.name.split("-")[0]), one.name))
    raise ConfigurationError(f"There is no folder {_FOLDER} here: deploy from a checkout.")


def _plan(target: Target) -> Iterator[str]:
    deployment = target.deployment
    yield f"deploy {deployment.title}"
    if target.needs:
        yield f"  {target.needs}  # do this first: without a model the app is left out"
    if deployment.fetches_weights:
        yield f"  {' '.join(['modal', *target.modal('run', '::pull')[3:]])}"
    yield f"  {' '.join(['modal', *target.modal('deploy')[3:]])}"


def _secrets_plan(targets: Sequence[Target]) -> Iterator[str]:
    from reflector_gpu.deploy.modal_app import HUB_SECRET, HUB_VARIABLE
    from reflector_gpu.deploy.on_modal.server import DATABASE_VARIABLE, KEY_VARIABLE, SECRET

    more = f", and {DATABASE_VARIABLE} of this environment" * (DATABASE_VARIABLE in os.environ)
    yield f"secret {SECRET}: use it, or create it with a new {KEY_VARIABLE}{more}"
    if any(target.deployment.needs_hub_token for target in targets):
        yield f"secret {HUB_SECRET}: use it, or create it with {HUB_VARIABLE} of this environment"


def _with_models(targets: Sequence[Target]) -> list[Target]:
    """Those of ``targets`` that have their model, or can fetch it.

    Raises:
        ConfigurationError: none has.
    """
    lacking = [target for target in targets if target.needs and not _in_volume(target)]
    told = [f"{target.name} lacks its model: {target.needs}" for target in lacking]
    if len(lacking) == len(targets):
        raise ConfigurationError("\n".join(told))
    for line in told:
        _say(f"Not deployed, {line}")
    return [target for target in targets if target not in lacking]


def _in_volume(target: Target) -> bool:
    import modal

    from reflector_gpu.deploy.modal_app import VOLUME

    folder = target.deployment.folder
    assert folder is not None
    with _at_modal():
        try:
            return bool(modal.Volume.from_name(VOLUME).listdir(folder))
        except (modal.exception.NotFoundError, FileNotFoundError):
            return False


def _prepare_secrets(targets: Sequence[Target]) -> str | None:
    """Create the secrets of ``targets`` that are missing. The key, if this has made it."""
    import modal

    from reflector_gpu.deploy.modal_app import HUB_SECRET, HUB_VARIABLE
    from reflector_gpu.deploy.on_modal.server import DATABASE_VARIABLE, KEY_VARIABLE, SECRET

    with _at_modal():
        known = {one.name for one in modal.Secret.objects.list()}
        if HUB_SECRET not in known and any(t.deployment.needs_hub_token for t in targets):
            token = os.environ.get(HUB_VARIABLE)
            if not token:
                raise ConfigurationError(
                    "These weights are gated: accept their terms on huggingface.co, and set "
                    f"{HUB_VARIABLE} to a token that may read them."
                )
            modal.Secret.objects.create(HUB_SECRET, {HUB_VARIABLE: token})
            _say(f"Created the secret {HUB_SECRET}.")
        if SECRET in known:
            _say(f"Using the secret {SECRET}; its key is the one that was printed back then.")
            return None
        key = secrets.token_urlsafe(32)
        database = os.environ.get(DATABASE_VARIABLE)
        more = {DATABASE_VARIABLE: database} if database else {}
        modal.Secret.objects.create(SECRET, {KEY_VARIABLE: key, **more})
        _say(f"Created the secret {SECRET}. Its key is printed below, and never again.")
        return key


@contextmanager
def _at_modal() -> Iterator[None]:
    """Raise errors of Modal's client as ours."""
    import modal

    try:
        yield
    except modal.exception.AuthError as error:
        raise ConfigurationError(f"No login to Modal: run `modal setup`. ({error})") from error
    except modal.exception.Error as error:
        raise UpstreamFailed(f"Modal cannot be used: {error}") from error


def _modal(command: Sequence[str], what: str) -> None:
    _say(f"{what} ...")
    done = subprocess.run(command, stdout=sys.stderr, check=False)  # noqa: S603  built above
    if done.returncode:
        raise UpstreamFailed(f"{what} failed: `modal {' '.join(command[3:])}` says why.")


def _url(app: str) -> str:
    import modal

    try:
        url = modal.Function.from_name(app, "web").get_web_url()
    except modal.exception.Error as error:
        raise UpstreamFailed(
            f"{app} is deployed, but Modal does not know its address: {error}"
        ) from error
    if url is None:
        raise UpstreamFailed(f"{app} is deployed, but Modal does not know its address.")
    return url


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
