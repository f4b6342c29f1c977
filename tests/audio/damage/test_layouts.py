"""Layouts are hidden wherever a read happens to end, and nothing else is changed."""

from __future__ import annotations

import struct

import pytest

from reflector_gpu.audio.layouts import WithoutLayouts
from reflector_gpu.audio.spool import Spool

SOUND = bytes(range(256))
LABELS = struct.pack(">IIfff", 2, 0, 0, 0, 0) + struct.pack(">IIfff", 1, 0, 0, 0, 0)
TOLD = struct.pack(">III", 0, 0, 2) + LABELS  # one by one: tag 0


def read(data: bytes, step: int) -> bytes:
    with Spool(limit=10**6) as spool:
        spool.write(data)
        spool.finish()
        reader = WithoutLayouts(spool.reader())
        return b"".join(iter(lambda: reader.read(step), b""))


@pytest.fixture(params=[1, 2, 3, 5, 7, 13, 10_000])
def step(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.mark.parametrize("version", [bytes(4), b"\0\0\0\1"])
@pytest.mark.parametrize(
    ("padding", "lengths"), [(0, (1, 3, 5, 10_000)), (70_000, (1_021, 10_000))]
)
@pytest.mark.parametrize("name", [b"chan", b"chnl"])
def test_a_box_has_another_name(
    name: bytes, padding: int, lengths: tuple[int, ...], version: bytes
) -> None:
    content = version + TOLD + bytes(padding)
    before, after = bytes(4) + b"ftypqt  ", struct.pack(">I", 8 + len(content))
    box = before + after + name + content + SOUND
    for length in lengths:
        found = read(box, length)
        assert name not in found
        assert found[:16] == box[:16]
        assert found[20:] == box[20:]


def test_a_chunk_of_aiff_has_another_name(step: int) -> None:
    head = b"FORM" + bytes(4) + b"AIFF"
    file = head + b"CHAN" + struct.pack(">I", len(TOLD)) + TOLD + SOUND
    found = read(file, step)
    assert b"CHAN" not in found
    assert found[:12] == file[:12]
    assert found[16:] == file[16:]


def test_a_chunk_of_caf_says_nothing_known(step: int) -> None:
    head = b"caff\0\1\0\0" + b"desc" + bytes(40)
    file = head + b"chan" + struct.pack(">q", len(TOLD)) + TOLD + SOUND
    tag = len(head) + 12
    assert read(file, step) == file[:tag] + b"\xff\xff\0\0" + file[tag + 4 :]


def test_a_page_of_ogg_stays_as_it_is(step: int) -> None:
    """It has a checksum."""
    page = b"OggS" + SOUND + b"chan" + SOUND
    assert read(page, step) == page


def test_a_recording_of_three_bytes(step: int) -> None:
    assert read(b"cha", step) == b"cha"


def test_what_is_sought_is_hidden_as_well() -> None:
    with Spool(limit=10**6) as spool:
        spool.write(SOUND + b"chan" + SOUND)
        spool.finish()
        reader = WithoutLayouts(spool.reader())
        assert reader.seek(len(SOUND) + 2) == reader.tell() == len(SOUND) + 2
        assert reader.read(4) == b"ee" + SOUND[:2]
