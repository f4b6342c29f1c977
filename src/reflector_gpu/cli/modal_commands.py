"""The commands after ``reflector-gpu modal``. Importing this must stay cheap."""

from __future__ import annotations

from typing import Annotated

import typer

modal = typer.Typer(
    help="The same service on Modal's GPUs.", no_args_is_help=True, rich_markup_mode=None
)


@modal.callback()
def on_modal() -> None:
    """The same service on Modal's GPUs.

    Variables set what a deployment is like: REFLECTOR_MODAL_LIVE_GPU=H100, ... All are listed in
    reflector_gpu/deploy/on_modal/settings.py.
    """


@modal.command("deploy")
def deploy_on_modal(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            show_default=False,
            help="transcriber, transcriber-parakeet, diarizer, translator, padding or llm.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", show_default=False, help="All of them.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", show_default=False, help="Show what would be done.")
    ] = False,
) -> None:
    """Deploy apps, with their secrets and weights.

    Prints what Reflector needs to use them.

    A key is made once, kept in the secret reflector-gpu, and printed once. Gated weights take the
    hub token from the environment. [env var: HF_TOKEN]
    """
    from reflector_gpu.cli.modal import run

    run(names or [], everything=everything, dry_run=dry_run)
