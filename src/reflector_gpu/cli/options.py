"""The options that set a setting.

Their help and choices are those of `reflector_gpu.settings`, written down once more because
importing that takes pydantic; a test compares the two.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import typer

from reflector_gpu.cli import completion


def _setting(name: str, text: str, **details: Any) -> Any:
    flag = f"--{name.replace('_', '-')}"
    variable = f"REFLECTOR_{name.upper()}"
    return typer.Option(flag, show_default=False, help=f"{text}. [env var: {variable}]", **details)


Host: TypeAlias = Annotated[str | None, _setting("host", "Address to listen on", metavar="ADDRESS")]
Port: TypeAlias = Annotated[
    int | None,
    _setting("port", "Port to listen on; 0 takes a free one", metavar="NUMBER", min=0, max=65535),
]
Wyoming: TypeAlias = Annotated[
    int | None,
    _setting("wyoming", "Port for Home Assistant", metavar="NUMBER", min=0, max=65535),
]
Profile: TypeAlias = Annotated[
    Literal["embedded", "cpu", "gpu"] | None,
    _setting("profile", "Set of defaults to start from"),
]
Model: TypeAlias = Annotated[
    str | None,
    _setting(
        "model",
        "Model of requests that name none, or one of OpenAI's",
        metavar="NAME",
        autocompletion=completion.recognisers,
    ),
]
Workers: TypeAlias = Annotated[
    int | None,
    _setting(
        "workers",
        "Processes per model and device; 0: as many as make it faster",
        metavar="NUMBER",
        min=0,
    ),
]
Insecure: TypeAlias = Annotated[bool, _setting("insecure", "Serve other machines without any key")]
LogLevel: TypeAlias = Annotated[
    Literal["debug", "info", "warning", "error"] | None,
    _setting("log_level", "How much the server logs"),
]

AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", show_default=False, help="Print JSON instead of a table.")
]

Key: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        envvar=["REFLECTOR_APIKEY", "REFLECTOR_API_KEY", "REFLECTOR_GPU_APIKEY"],
        help="The server's key.",
    ),
]
