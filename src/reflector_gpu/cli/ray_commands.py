"""The commands after ``reflector-gpu ray``. Importing this must stay cheap."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reflector_gpu.cli.output_formats import OutputFormat
from reflector_gpu.cli.recording_options import Diarize, Language, ModelName

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
    image: Annotated[
        str | None,
        typer.Option(
            "--kubernetes",
            metavar="IMAGE",
            help="Print a RayService for KubeRay instead, whose pods run this image.",
        ),
    ] = None,
) -> None:
    """Print what 'serve deploy' takes.

    It is made from the settings of this machine.
    """
    from reflector_gpu.cli.ray import config

    config(image)


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


@ray.command("batch")
def batch(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Recordings, also below it.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where transcripts are written.")],
    form: Annotated[
        OutputFormat, typer.Option("--format", "-f", help="Format of the transcripts.")
    ] = OutputFormat.JSON,
    model: ModelName = None,
    language: Language = None,
    diarize: Diarize = False,
    actors: Annotated[
        int,
        typer.Option(metavar="NUMBER", min=1, help="Most models that are loaded at once."),
    ] = 4,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="The cluster; else a new one on this machine. [env var: RAY_ADDRESS]",
        ),
    ] = None,
) -> None:
    """Transcribe a folder of recordings on a cluster.

    All of its nodes have to see both folders.

    Run again, it does what is left: a recording whose transcript is there is done. What failed is
    listed in OUT/failures.txt, and is tried again by the next run. Each model has the cores and the
    share of a GPU of REFLECTOR_RAY_CPUS and REFLECTOR_RAY_GPUS.
    """
    from reflector_gpu.cli.ray import batch as run_batch

    chosen = {"model": model, "language": language, "diarize": diarize or None}
    given = {name: value for name, value in chosen.items() if value is not None}
    raise typer.Exit(run_batch(folder, out, form, given, actors, address))
