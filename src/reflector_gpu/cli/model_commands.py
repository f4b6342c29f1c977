"""The commands after ``reflector-gpu models``. Importing this must stay cheap."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from reflector_gpu.cli import completion
from reflector_gpu.cli.options import AsJson, Model, Profile

models = typer.Typer(
    help="The models that this machine knows.", no_args_is_help=True, rich_markup_mode=None
)

_from_the_list = typer.Argument(
    metavar="NAME",
    show_default=False,
    autocompletion=completion.models,
    help="From `models list`.",
)
Name: TypeAlias = Annotated[str, _from_the_list]
Names: TypeAlias = Annotated[list[str], _from_the_list]
Yes: TypeAlias = Annotated[
    bool, typer.Option("--yes", "-y", show_default=False, help="Do not ask.")
]


@models.command("list")
def list_models(profile: Profile = None, model: Model = None, as_json: AsJson = False) -> None:
    """List the models, installed or not."""
    from reflector_gpu.cli.models import show_all

    show_all(as_json=as_json, profile=profile, model=model)


@models.command("show")
def show_model(
    name: Name,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show all there is to know about a model, and how to install it."""
    from reflector_gpu.cli.models import show

    show(name, as_json=as_json, profile=profile)


@models.command("pull")
def pull_models(names: Names) -> None:
    """Download the weights of models.

    They go into the Hugging Face cache [env var: HF_HOME], whose folder for each is printed. What
    is there already is not downloaded again, and a download that was broken off goes on.
    """
    from reflector_gpu.cli.models import pull

    pull(names)


@models.command("rm")
def remove_models(names: Names, yes: Yes = False) -> None:
    """Delete the downloaded weights of models.

    Folders of your own stay, and so do files that another model needs.
    """
    from reflector_gpu.cli.models import delete

    delete(names, sure=yes)


@models.command("export")
def export_model(
    name: Name,
    archive: Annotated[
        Path, typer.Argument(metavar="ARCHIVE", show_default=False, help="A tar file to write.")
    ],
    yes: Yes = False,
) -> None:
    """Write the weights of a model to an archive.

    `models import` reads it on a machine without a network.
    """
    from reflector_gpu.cli.archives import export

    export(name, archive, sure=yes)


@models.command("import")
def import_models(
    archive: Annotated[
        Path, typer.Argument(metavar="ARCHIVE", show_default=False, help="From `models export`.")
    ],
) -> None:
    """Put the weights of an archive into the Hugging Face cache. [env var: HF_HOME]

    Every file is checked against its hash.
    """
    from reflector_gpu.cli.archives import install

    install(archive)
