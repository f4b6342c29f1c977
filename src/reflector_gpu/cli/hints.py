"""Commands as they work in this installation.

Messages name commands in a general form: ``pip install 'reflector-gpu[whisper]'``,
``reflector-gpu models pull tiny``. HTTP clients get that form, and do not learn where this program
is installed. What the program prints goes through `here`, and can be pasted into a shell.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import sys
from pathlib import Path

from reflector_gpu.errors import ReflectorError, UpstreamFailed

PROGRAM = "reflector-gpu"

_COMMANDS = "config|doctor|jobs|keys|llm|modal|models|serve|transcribe|translate"
_PROGRAM = re.compile(rf"(?<![\w/'-]){PROGRAM}(?= (?:{_COMMANDS})\b)")
_EXTRA = re.compile(rf"pip install '{PROGRAM}\[([\w,-]+)\]'")
_PIP = re.compile(r"(?<![\w/-])pip (?=(?:un)?install )")


def here(text: str) -> str:
    """``text`` with each command as it works here."""
    text = _EXTRA.sub(lambda found: f"pip install {_package(found[1])}", text)
    text = _PIP.sub(lambda found: f"{pip()} ", text)
    return _PROGRAM.sub(lambda found: program(), text)


def message_of(error: ReflectorError) -> str:
    """The message of ``error``. One from another server stays: its commands are for that server."""
    return error.message if isinstance(error, UpstreamFailed) else here(error.message)


def program() -> str:
    """This program, as it was called."""
    called = Path(sys.argv[0])
    if called.name != PROGRAM:  # python -m reflector_gpu
        called = Path(sys.executable).with_name(PROGRAM)
        if not called.exists():
            return f"{_shown(Path(sys.executable))} -m reflector_gpu"
    return _shown(called)


def pip() -> str:
    """The pip of the environment in which this program is installed."""
    python = Path(sys.executable)
    beside = python.with_name("pip")
    if beside.exists():
        return _shown(beside)
    if importlib.util.find_spec("pip") is None and shutil.which("uv"):
        return f"uv pip --python {_shown(python)}"
    return f"{_shown(python)} -m pip"


def _package(extras: str) -> str:
    """What ``pip install`` takes for this package with ``extras``."""
    checkout = _checkout()
    if checkout is None:
        return f"'{PROGRAM}[{extras}]'"
    constraints = shlex.quote(_relative(checkout / "constraints.txt"))
    return f"-c {constraints} -e '{_relative(checkout)}[{extras}]'"


def _checkout() -> Path | None:
    """The folder of the sources, if the program runs from them."""
    root = Path(__file__).resolve().parents[3]
    inside = Path(__file__).resolve().is_relative_to(root / "src")
    needed = (root / "pyproject.toml", root / "constraints.txt")
    return root if inside and all(map(Path.exists, needed)) else None


def _shown(file: Path) -> str:
    """The shortest way to call ``file`` from this folder."""
    if str(file) == file.name:  # typed without a folder, and found on the PATH
        return file.name
    found = shutil.which(file.name)
    if found and Path(found).absolute() == file.absolute():
        return file.name
    return shlex.quote(_relative(file))


def _relative(path: Path) -> str:
    """``path`` from this folder, if it is in it."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
