"""The README's code blocks do what it says, and it is as short as it promises."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.blocks import SERVE, Block, Reader, blocks_of, reading, runnable
from tests.conftest import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = blocks_of("README.md")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with reading(tmp_path_factory.mktemp("reader")) as reader:
        yield reader


@pytest.mark.parametrize(
    "block", [*runnable(BLOCKS, "python"), *runnable(BLOCKS, "sh")], ids=lambda block: block.id
)
def test_blocks_run(block: Block, reader: Reader) -> None:
    assert reader.run(block).strip()


def test_it_says_how_the_server_is_started_that_its_examples_ask() -> None:
    assert SERVE in [block.code for block in BLOCKS]


def test_it_is_one_screen_and_tables() -> None:
    prose = [line for line in TEXT.splitlines() if line and not line.startswith("|")]
    assert len(prose) < 80


def test_it_has_one_picture_which_is_small() -> None:
    [picture] = re.findall(r"!\[[^\]]{20,}\]\(([^)]+)\)", TEXT)
    assert (ROOT / picture).stat().st_size < 200_000


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/benchmarks.md"])
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    text, makefile = (ROOT / page).read_text(), (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^)make ([\w./-]+)", text, re.MULTILINE)):
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_file_that_a_page_links_exists(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    for link in links:
        assert ((ROOT / page).parent / link).exists(), link
