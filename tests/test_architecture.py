"""The shape of the package: which room may know which, and what an import may cost."""

from __future__ import annotations

import ast
import functools
import graphlib
import html
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import reflector_gpu
from tests.conftest import ROOT

PACKAGE = Path(reflector_gpu.__file__).parent
NAME = PACKAGE.name

LEAVES = set(
    "types errors stages logs suggest environment networks profiles settings setting_types"
    " job_settings limit_settings speaker_settings languages sentences pcm"
    " escaping testing unknown_fields version".split()
)
"""What everyone may import; they import nothing but each other. `pcm` is one because `audio` writes
such files and the diarizers of `engines` read them, and neither room may import the other."""

ALLOWED = {
    "audio": set(),
    "engines": set(),
    "runtime": set(),
    "decoding": {"audio"},
    "pipeline": {"audio", "decoding"},  # engines and runtime come as `submit`
    "live": {"audio", "pipeline"},  # engines and runtime come as `submit`
    "formats": {"pipeline"},
    "llm": {"engines", "runtime"},
    "store": set(),
    "jobs": {"audio", "pipeline", "store"},  # what a job does comes as `Work`
    "service": {"audio", "decoding", "engines", "runtime", "pipeline", "live", "llm"},
    "wyoming": {"live", "realtime", "service"},
    "webrtc": {"realtime"},
    "realtime": {"audio", "engines", "runtime", "pipeline", "live", "service", "formats"},
    "api": {
        "audio",
        "engines",
        "runtime",
        "pipeline",
        "live",
        "llm",
        "service",
        "formats",
        "store",
        "jobs",
        "realtime",
        "webrtc",
    },
    "deploy": {
        "audio",
        "engines",
        "runtime",
        "pipeline",
        "llm",
        "service",
        "store",
        "realtime",
        "api",
    },
    "transcriber": {"audio", "engines", "pipeline", "service"},
    "cli": {
        "audio",
        "engines",
        "runtime",
        "pipeline",
        "live",
        "llm",
        "service",
        "formats",
        "transcriber",
        "api",
        "deploy",
        "store",
        "wyoming",
    },
    "__main__": {"cli"},
}
"""Rooms, and the rooms below them that they may import besides the leaves."""

PUBLIC = {"transcriber", "pipeline", "types", "errors", "settings", "version"}
"""Where the names of the package itself are from; it loads all but the version when they are first
used."""

CATALOGS = {"catalog", "catalogs"}
"""Modules of `engines` that know every engine of their kind."""

HEAVY = (
    "torch ctranslate2 onnxruntime pocketsphinx ray modal faster_whisper opentelemetry.sdk aiortc"
).split()

FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """What a file imports from this package, wherever it does so: each as its path below it."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first == NAME and rest:
                yield tuple(rest)


def room(module: tuple[str, ...]) -> str:
    return module[0] if module else "__init__"


def rooms_of(path: Path) -> set[str]:
    """The rooms that a file imports from, its own left out."""
    known = LEAVES | set(ALLOWED)
    found = {room(target) for target in imports(path)}
    return {name for name in found if name in known} - {room(module_of(path))}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    own = room(module_of(path))
    if own == "__init__":
        assert rooms_of(path) <= PUBLIC
    elif own in LEAVES:
        assert rooms_of(path) <= LEAVES
    else:
        assert own in ALLOWED, f"a new room: say in {Path(__file__).name} what it may know"
        assert rooms_of(path) - LEAVES <= ALLOWED[own]


def test_the_rooms_are_those_that_are_named_here() -> None:
    found = {room(module_of(path)) for path in FILES} - {"__init__"}
    assert found == LEAVES | set(ALLOWED)
    assert set().union(*ALLOWED.values()) <= found
    assert set(FRAMEWORKS) <= found


def test_the_drawing_shows_the_rooms_and_imports_that_may_be() -> None:
    source, picture = (
        (ROOT / "docs" / "assets" / name).read_text() for name in ("rooms.dot", "rooms.svg")
    )
    arrows = {
        pair
        for chain in re.findall(r"^    (\w+(?: -> \w+)+)", source, re.MULTILINE)
        for pair in pairwise(chain.split(" -> "))
    }
    assert all(below in ALLOWED[above] for above, below in arrows)
    assert {name for arrow in arrows for name in arrow} == set(ALLOWED) - {"__main__"}
    titles = map(html.unescape, re.findall("<title>(.*?)</title>", picture))
    assert {tuple(title.split("->")) for title in titles if "->" in title} == arrows


def test_the_command_line_knows_the_api_only_to_serve_it() -> None:
    users = {path for path in FILES if "api" in rooms_of(path) and room(module_of(path)) == "cli"}
    assert users == {PACKAGE / "cli" / "serve.py", PACKAGE / "cli" / "serving.py"}


def test_the_rooms_have_an_order() -> None:
    tuple(graphlib.TopologicalSorter(ALLOWED).static_order())  # which raises for a circle


MODULES = {module_of(path): path for path in FILES}


def modules_imported(path: Path) -> Iterator[tuple[str, ...]]:
    """The modules that a file imports: of ``a.b.name``, ``a.b`` unless ``name`` is one itself."""
    for target in imports(path):
        yield target if target in MODULES else target[:-1]


def test_no_two_modules_import_each_other() -> None:
    graph = {module: set(modules_imported(path)) for module, path in MODULES.items()}
    assert set().union(*graph.values()) <= set(MODULES)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle = " -> ".join(".".join((NAME, *module)) for module in error.args[1])
        pytest.fail(f"modules import each other: {circle}")


def test_importing_the_package_loads_no_library() -> None:
    code = (
        "import sys, reflector_gpu; print([n for n in ('numpy', 'pydantic') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def is_engine(path: Path) -> bool:
    """Whether a file has the class of an engine: what loads and closes, and is no Protocol."""
    return any(
        isinstance(node, ast.ClassDef)
        and not any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
        and {"load", "close"} <= {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
        for node in parsed(path).body
    )


def family_of(path: Path) -> tuple[str, ...]:
    """What belongs to the engine in a file: its folder, or the file alone where a catalog lives
    beside it."""
    folder = path.parent
    alone = any((folder / f"{name}.py").exists() for name in CATALOGS)
    return module_of(path) if alone else module_of(folder / "__init__.py")


FAMILIES = {
    family_of(path) for path in FILES if room(module_of(path)) == "engines" and is_engine(path)
}
"""Every family of engines, as the path of its file or folder below the package."""


def families_in(module: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The family that ``module``, or a name in it, is part of."""
    return {family for family in FAMILIES if module[: len(family)] == family}


def test_families_of_engines_are_found_in_files_and_in_folders() -> None:
    assert {
        "sphinx",
        "scripted",
        "parakeet",
        "whisper",
        "bic",
        "pyannet",
        "segmentation",
        "generator",
    } <= {family[-1] for family in FAMILIES}


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room(module_of(path)) == "engines" and path.stem not in CATALOGS],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_engines_do_not_know_each_other(path: Path) -> None:
    used = {family for target in imports(path) for family in families_in(target)}
    assert used <= families_in(module_of(path))


FRAMEWORKS = {
    "audio": {"fastapi", "starlette", "uvicorn"},
    "engines": {"fastapi", "starlette", "uvicorn", "av", "httpx", "multiprocessing"},
    "runtime": {"fastapi", "starlette", "uvicorn", "av", "httpx"},
    "pipeline": {"fastapi", "starlette", "uvicorn", "av", "httpx", "multiprocessing"},
    "live": {"fastapi", "starlette", "uvicorn", "av", "httpx", "multiprocessing"},
    "llm": {"fastapi", "starlette", "uvicorn", "av", "multiprocessing"},
    "formats": {"fastapi", "starlette", "uvicorn", "av", "httpx", "multiprocessing"},
    "store": {"fastapi", "starlette", "uvicorn", "av", "httpx", "multiprocessing"},
    "jobs": {"fastapi", "starlette", "uvicorn", "av", "multiprocessing"},
    "service": {"fastapi", "starlette", "uvicorn"},
    "realtime": {"fastapi", "starlette", "uvicorn", "websockets", "av", "httpx", "multiprocessing"},
    "webrtc": {"fastapi", "starlette", "uvicorn", "websockets", "httpx", "multiprocessing"},
    "transcriber": {"fastapi", "starlette", "uvicorn", "av", "httpx", "multiprocessing"},
}
"""Libraries that a room has no business with."""


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_rooms_do_not_know_foreign_trades(name: str) -> None:
    for path in FILES:
        if room(module_of(path)) != name:
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                used = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                used = {(node.module or "").split(".")[0]}
            else:
                continue
            assert not used & FRAMEWORKS[name], path


@pytest.mark.parametrize(
    "code",
    [
        "import reflector_gpu.api.app",
        "import reflector_gpu.engines.catalogs",
        "from reflector_gpu import transcribe",
        "import sys; sys.argv = ['reflector-gpu', '--help']\n"
        "from reflector_gpu.cli import main\n"
        "try: main()\nexcept SystemExit: pass",
    ],
    ids=["app", "catalog", "library", "help"],
)
def test_importing_loads_no_engine_library(code: str) -> None:
    check = f"import sys\nprint('\\n', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].strip() == "[]"


@pytest.mark.parametrize("module", ["decoding.decoder_process", "runtime.worker_process"])
def test_processes_that_servers_start_load_little(module: str) -> None:
    """Each takes a third longer to start with what it has no use for."""
    code = (
        f"import sys, {NAME}.{module}; print(sorted({{'asyncio', 'pydantic'}} & {{*sys.modules}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


def test_every_module_says_what_it_is_for() -> None:
    for path in FILES:
        assert ast.get_docstring(parsed(path)), path
