"""The commands after ``reflector-gpu keys``. Importing this must stay cheap."""

from __future__ import annotations

from typing import Annotated

import typer

from reflector_gpu.cli.options import AsJson

keys = typer.Typer(
    help="Keys of the server: who may do what.", no_args_is_help=True, rich_markup_mode=None
)


@keys.command("create")
def create_key(
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, help="Who will use it.")
    ],
    scopes: Annotated[
        str, typer.Option(metavar="SCOPES", help="What it may do, between commas.")
    ] = "transcribe,diarize,translate,llm,jobs",
    daily_audio_hours: Annotated[
        float | None,
        typer.Option(metavar="NUMBER", min=0, help="Hours of audio that it may use in a day."),
    ] = None,
) -> None:
    """Make a key, and print it once. [env var: REFLECTOR_DATA_DIR]

    A server with the same folder takes it from the next second on. Scopes are transcribe, diarize,
    translate, llm, jobs (for all kinds), and admin (metrics, and what others have used).
    """
    from reflector_gpu.cli.keys import create

    create(name, scopes, daily_audio_hours)


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List the keys, revoked ones too. Their secrets are not kept."""
    from reflector_gpu.cli.keys import show

    show(as_json=as_json)


@keys.command("revoke")
def revoke_keys(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", show_default=False, help="From `keys list`.")
    ],
) -> None:
    """End keys. A server refuses them from the next second on."""
    from reflector_gpu.cli.keys import revoke

    revoke(names)
