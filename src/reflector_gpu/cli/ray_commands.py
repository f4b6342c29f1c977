"""The commands after ``reflector-gpu ray``. Importing this must stay cheap."""

from __future__ import annotations

from typing import Annotated

import typer

ray = typer.Typer(
    help="The same service on a Ray cluster.", no_args_is_help=True, rich_markup_mode=None
)


@ray.callback()
def on_ray() -> None:
    """The same service on a Ray cluster.

    Variables set what a deployment is like: REFLECTOR_RAY_GPUS=0.5, ... All are listed in
    docs/ray.md.
    """


@ray.command("config")
def write_config(
    kubernetes: Annotated[
        bool,
        typer.Option("--kubernetes", show_default=False, help="Print a RayService for KubeRay."),
    ] = False,
    image: Annotated[
        str | None,
        typer.Option(show_default=False, metavar="NAME", help="Image of its pods."),
    ] = None,
) -> None:
    """Print what 'serve deploy' takes, made from the settings of this machine."""
    from reflector_gpu.cli.ray import config

    config(kubernetes=kubernetes, image=image)


@ray.command("up")
def up(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, max=65535, help="Port to listen on.")
    ] = 8000,
) -> None:
    """Run a cluster on this machine, with the application, until Ctrl-C.

    The cores that replicas ask for need not be there: this is for trying out.
    """
    from reflector_gpu.cli.ray import run

    run(host, port)
