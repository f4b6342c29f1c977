"""Help: there for everything that can be typed, true, and at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import get_args

import pytest
import typer.core
import typer.main

from reflector_gpu import __version__
from reflector_gpu.cli.commands import app
from reflector_gpu.profiles import PROFILES
from reflector_gpu.settings import Settings, variables
from tests.cli.conftest import Typed
from tests.cli.program import environment, run

HEAVY = set("av fastapi httpx numpy onnxruntime prometheus_client pydantic rich uvicorn".split())

COMMANDS: list[list[str]] = [
    [],
    ["serve"],
    ["transcribe"],
    ["llm"],
    ["translate"],
    ["models"],
    ["models", "list"],
    ["models", "show"],
    ["models", "pull"],
    ["models", "rm"],
    ["config"],
    ["doctor"],
]


def test_help_imports_nothing_heavy() -> None:
    """One process shows one help after the other; what one imports stays for those after it."""
    script = (
        "import json, sys\n"
        "from reflector_gpu.cli import main\n"
        f"for command in {COMMANDS!r}:\n"
        "    sys.argv = ['reflector-gpu', *command, '--help']\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        "    print(json.dumps(list(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("Usage: reflector-gpu") == len(COMMANDS)
    for command, line in zip(COMMANDS, done.stderr.splitlines(), strict=True):
        loaded = {name.partition(".")[0] for name in json.loads(line)}
        # Typer itself imports pydantic to show the help of a command, but not that of the program.
        allowed = {"pydantic"} if command else set()
        assert not loaded & HEAVY - allowed, command


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_h_shows_the_help(typed: Typed, command: list[str]) -> None:
    done = typed(*command, "-h")
    assert done.out == typed(*command, "--help").out
    assert "Usage: reflector-gpu" in done.out


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("models show ti", {"tiny", "tiny.en"}),
        ("models pull m2m", {"m2m100", "m2m100-1.2b"}),
        ("serve --model au", {"auto"}),
        ("transcribe a.wav --model scr", {"scripted"}),
        ("transcribe a.wav --format v", {"vtt", "verbose_json"}),
        ("transl", {"translate"}),
    ],
)
def test_the_shell_completes_commands_and_names(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, line: str, offered: set[str]
) -> None:
    words = f"reflector-gpu {line}"
    monkeypatch.setenv("_REFLECTOR_GPU_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    done = typed()
    assert (set(done.out.split()), done.err) == (offered, "")


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"reflector-gpu {__version__}\n")


def test_a_typing_error_is_no_traceback() -> None:
    done = run("serve", "--port", "http")
    assert done.returncode == 2
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_choice_lists_the_right_ones(typed: Typed) -> None:
    done = typed("transcribe", "-f", "docx", "a.wav")
    assert done.status == 2
    assert "'--format' / '-f': 'docx' is not one of 'txt', " in done.err


@pytest.mark.parametrize("group", ["", "jobs", "keys", "modal", "models", "ray"])
def test_the_list_of_commands_is_not_cut(typed: Typed, group: str) -> None:
    _, _, commands = typed(*group.split(), "--help").out.partition("Commands:")
    assert commands
    assert "..." not in commands


def options() -> Iterator[tuple[str, typer.core.TyperOption]]:
    """Every option of every command, with the command's name."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    waiting = [("", group)]
    while waiting:
        name, command = waiting.pop()
        if isinstance(command, typer.core.TyperGroup):
            waiting += [(f"{name} {n}".strip(), c) for n, c in command.commands.items()]  # type: ignore[misc]
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, typer.core.TyperOption):
                yield name, parameter


OPTIONS = [pytest.param(option, id=f"{command} {option.opts[0]}") for command, option in options()]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_explained(option: typer.core.TyperOption) -> None:
    assert option.help


SETTINGS = [
    pytest.param(option, id=f"{command} {option.opts[0]}")
    for command, option in options()
    if command in ("serve", "config", "doctor", "models list")
    and option.name in Settings.model_fields
]


@pytest.mark.parametrize("option", SETTINGS)
def test_help_says_what_the_setting_says(option: typer.core.TyperOption) -> None:
    assert option.name
    description = Settings.model_fields[option.name].description
    assert option.help == f"{description}. [env var: {variables(option.name)[0]}]"


def test_choices_are_those_of_the_setting(typed: Typed) -> None:
    help_text = typed("serve", "--help").out
    assert f"--profile <{'|'.join(PROFILES)}>" in help_text
    levels = get_args(Settings.model_fields["log_level"].annotation)
    assert f"--log-level <{'|'.join(levels)}>" in help_text
