"""What the documentation says is true: its examples run, and what it names exists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest
import typer.main
import yaml

from manual import api_page, settings_page
from manual.navigation import GENERATED, more, name_of, pages_in
from reflector_gpu.api.app import create_app
from reflector_gpu.cli.commands import app
from reflector_gpu.deploy.on_modal.settings import ModalSettings
from reflector_gpu.deploy.on_ray.settings import RaySettings
from reflector_gpu.environment import SERVER_VARIABLE
from reflector_gpu.settings import Settings, load_settings, variables
from tests.blocks import Block, Reader, blocks_of, reading, runnable
from tests.conftest import ROOT

README = blocks_of("README.md")
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
BLOCKS = blocks_of(*PAGES, "modal_deployments/README.md")
CODE_OF_README = {block.code for block in README}
"""What test_readme.py runs."""

NEEDS: Mapping[str, str] = {
    "git pull": "the origin of a checkout",
    "pip install": "a package index",
    "pip download": "a package index",
    "models pull": "the model hub",
    "models import": "an archive from another machine",
    "reflector-gpu serve": "not to end",
    "docker ": "Docker",
    "helm ": "a cluster",
    "benchmarks gpu": "a GPU",
    "benchmarks.remote": "a GPU",
    "modal setup": "an account with Modal",
    "modal deploy": "an account with Modal",
    "ray ": "a cluster",
    "sudo ": "to change this machine",
    "@call.wav": "a recording with two channels",
    "v1/speakers": "a server that remembers voices",
    "=community-1": "weights from the model hub",
    "webhooks/secret": "a receiver of webhooks",
    "RTCPeerConnection": "a browser",
}
"""What a block that is not run needs that the machine of a test does not have."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with reading(tmp_path_factory.mktemp("reader")) as reader:
        yield reader


def _runnable(kind: str) -> list[Block]:
    return [block for block in runnable(BLOCKS, kind) if block.code not in CODE_OF_README]


@pytest.mark.slow
@pytest.mark.parametrize("block", _runnable("python"), ids=lambda block: block.id)
def test_python_blocks_run(block: Block, reader: Reader) -> None:
    assert reader.run(block).strip()


@pytest.mark.slow
@pytest.mark.parametrize("block", _runnable("sh"), ids=lambda block: block.id)
def test_shell_blocks_run(block: Block, reader: Reader) -> None:
    output = reader.run(block)
    assert '"error": {' not in output.replace('":{', '": {')
    assert output.strip()
    if "Anna" in block.code:
        assert '"speaker":"Anna"' in output, "known to the server"
        assert "\nAnna: " in output, "and to the program"


SKIPPED = [block for block in BLOCKS if block.skipped]


@pytest.mark.parametrize("block", SKIPPED, ids=lambda block: block.id)
def test_what_is_not_run_needs_what_a_test_does_not_have(block: Block) -> None:
    assert any(need in block.code for need in NEEDS)


@pytest.mark.parametrize("page", [*PAGES, "README.md", "SECURITY.md"])
def test_every_variable_that_a_page_names_is_a_setting(page: str) -> None:
    known = {variable for name in Settings.model_fields for variable in variables(name)}
    known.add(SERVER_VARIABLE)
    known |= {f"REFLECTOR_MODAL_{name.upper()}" for name in ModalSettings.model_fields}
    known |= {f"REFLECTOR_RAY_{name.upper()}" for name in RaySettings.model_fields}
    named = set(re.findall(r"\bREFLECTOR_[A-Z_]*[A-Z]\b", (ROOT / page).read_text()))
    assert {name for name in named if not name.startswith("REFLECTOR_BENCH_")} <= known


@pytest.mark.parametrize("page", [*PAGES, "README.md", "CONTRIBUTING.md"])
def test_every_command_that_a_page_names_exists(page: str) -> None:
    known = set(typer.main.get_group(app).commands)
    text = (ROOT / page).read_text()
    named = set(re.findall(r"(?:`|bin/)reflector-gpu ([a-z]+)\b", text))
    assert named <= known


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / link).exists(), link


def test_no_page_is_left_out_of_the_site() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    named = yaml.safe_load(text)["nav"]
    assert not set(pages_in([*named, *more(named)])) ^ {*GENERATED, *map(name_of, PAGES)}


def test_the_page_of_the_settings_has_all_of_them() -> None:
    in_sections = [name for names in settings_page.sections().values() for name in names]
    assert sorted(in_sections) == sorted(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        assert variables(name)[0] in settings_page.text()
        assert field.description


def test_the_api_reference_has_every_route_with_its_fields() -> None:
    text = api_page.text()
    document = create_app(load_settings()).openapi()
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"### {method.upper()} {path}\n" in text
    for field in ("known_speaker_references", "audio_file_url", "gen_schema", "max_speakers"):
        assert f"| `{field}` |" in text
