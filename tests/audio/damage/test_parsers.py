"""Our own parsers of heads, boxes, elements and pages, on bytes that nobody's encoder would write.

They read what clients send. Whatever that is, they come to an answer after a bounded number of
reads, and raise nothing.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reflector_gpu.audio import ending
from reflector_gpu.audio.container import _index_comes_last
from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.layouts import WithoutLayouts
from reflector_gpu.audio.spool import Spool, SpoolReader, TimedSpool
from reflector_gpu.audio.wav import PlainWav, claimed_wav_seconds, wav_end
from reflector_gpu.types import SAMPLE_RATE, Condition
from tests.audio.media import Form, encode

JUNK = st.binary(max_size=40)
EDGES = st.sampled_from([0, 1, 7, 8, 9, 15, 16, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1])
SIZES = EDGES | st.integers(0, 2**32 - 1) | st.integers(0, 60)
HUGE = st.sampled_from([0, 15, 16, 2**32, 2**63 - 1, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)


def spooled(data: bytes) -> SpoolReader:
    """A reader of ``data``, all of which has arrived. It is short, so nothing has to be closed."""
    spool = Spool(limit=10**9)
    spool.write(data)
    spool.finish()
    return spool.reader()


class Counted(SpoolReader):
    """Counts how often it is read."""

    reads = 0

    def peek(self, offset: int, count: int) -> bytes:
        self.reads += 1
        return super().peek(offset, count)


def counted(data: bytes) -> Counted:
    spool = Spool(limit=10**9)
    spool.write(data)
    spool.finish()
    return Counted(TimedSpool(spool))


# WAV


@st.composite
def wav_chunks(draw: st.DrawFn) -> bytes:
    name = draw(st.sampled_from([b"fmt ", b"data", b"LIST", b"JUNK"]) | st.binary(max_size=4))
    form = st.builds(
        lambda *fields: struct.pack("<HHIIHH", *fields),
        st.sampled_from([0, 1, 3, 6, 7, 0x55, 0xFFFE]),
        st.integers(0, 2**16 - 1),
        SIZES,
        SIZES,
        st.integers(0, 2**16 - 1),
        st.integers(0, 2**16 - 1),
    )
    return name + struct.pack("<I", draw(SIZES)) + draw(form | JUNK)


wav_files = st.builds(
    lambda size, chunks, rest: (
        b"RIFF" + struct.pack("<I", size) + b"WAVE" + b"".join(chunks) + rest
    ),
    SIZES,
    st.lists(wav_chunks(), max_size=4),
    JUNK,
)


@given(st.lists(wav_files, max_size=3).map(b"".join) | JUNK)
def test_wav_heads(data: bytes) -> None:
    reader = counted(data)
    claimed = claimed_wav_seconds(reader)
    assert claimed is None or claimed > 0
    end = wav_end(reader)
    assert end is None or 12 < end < len(data)
    plain = PlainWav.of(reader)
    if plain is None:
        assert reader.tell() == 0
    else:
        assert sum(map(len, plain.blocks(1000))) == plain.seconds * SAMPLE_RATE
    assert reader.reads < 200


def test_wav_with_chunks_without_end_is_given_up() -> None:
    reader = counted(b"RIFF\0\0\0\0WAVE" + b"JUNK\0\0\0\0" * 100_000)
    assert claimed_wav_seconds(reader) is None
    assert reader.reads < 200


# ISO boxes

boxes = st.builds(
    lambda size, kind, large, body: struct.pack(">I", size) + kind + large + body,
    SIZES,
    st.sampled_from([b"ftyp", b"moov", b"mdat", b"wide", b"free", b"\0\0\0\0"]),
    HUGE.map(lambda size: struct.pack(">Q", size)) | st.just(b""),
    JUNK,
)


@given(st.lists(boxes, max_size=6).map(b"".join) | JUNK)
@example(struct.pack(">I4sQ", 1, b"ftyp", 2**64 - 1))
def test_iso_boxes(data: bytes) -> None:
    reader = counted(data)
    assert ending._boxes_are_cut(reader) in (True, False)
    assert _index_comes_last(reader) in (True, False)
    assert reader.reads < 2 * len(data) + 10


def test_boxes_without_end_are_given_up() -> None:
    reader = counted(struct.pack(">I4s", 8, b"free") * 10_000)
    assert not _index_comes_last(reader)
    assert reader.reads <= 100


# EBML

identifiers = st.sampled_from(
    [bytes.fromhex(one) for one in "18538067 1F43B675 A3 E7 EC 00".split()]
)
lengths = st.builds(
    lambda width, value: ((1 << 7 * width) | value % (1 << 7 * width)).to_bytes(width, "big"),
    st.integers(1, 8),
    HUGE,
)
elements = st.builds(lambda *parts: b"".join(parts), identifiers, lengths | JUNK, JUNK)


@given(st.lists(elements, max_size=6).map(b"".join) | JUNK, st.integers(0, 300))
@example(bytes.fromhex("18538067") + b"\0" + b"\xff" * 11, 0)
def test_ebml_elements(data: bytes, last_packet: int) -> None:
    reader = counted(data)
    assert ending._segment_is_cut(reader, last_packet) in (True, False)
    assert reader.reads < 3 * len(data) + 10
    for offset in range(len(data)):
        begin, size = ending._element(reader, offset)
        assert begin > offset
        assert size is None or size >= 0


# Ogg

pages = st.builds(
    lambda head, count, sizes, body: b"OggS" + head + bytes([count]) + bytes(sizes) + body,
    st.binary(min_size=22, max_size=22) | JUNK,
    st.integers(0, 255),
    st.lists(st.integers(0, 255), max_size=10),
    JUNK,
)


@given(st.lists(pages, max_size=4).map(b"".join) | JUNK)
def test_ogg_pages(data: bytes) -> None:
    assert ending._page_is_cut(spooled(data)) in (True, False)


# MP3


@given(
    st.just(b"") | st.binary(min_size=7, max_size=7).map(lambda rest: b"ID3" + rest),
    st.binary(max_size=300),
    st.integers(0, 300),
    st.sampled_from([b"Xing", b"Info"]),
    st.sampled_from([0, 8_000, 44_100]),
)
def test_mp3_frames(tag: bytes, frame: bytes, at: int, mark: bytes, rate: int) -> None:
    seconds = ending._mp3_seconds(spooled(tag + frame[:at] + mark + frame[at:]), rate)
    assert seconds is None or seconds > 0


@pytest.mark.parametrize("at", [246, 251, 252])
def test_an_mp3_that_names_its_head_where_none_can_be(at: int) -> None:
    """Behind the last byte that we look at."""
    tone = (0.3 * np.sin(np.arange(2 * SAMPLE_RATE) / 20)).astype(np.float32)
    unnamed = {"write_xing": "0", "id3v2_version": "0"}
    data = bytearray(encode(tone, Form("mp3", "libmp3lame", 44_100, muxing=unnamed)))
    data[at : at + 4] = b"Xing"
    found: list[Condition] = []
    samples = sum(map(len, decode(spooled(bytes(data)), notice=found.append)))
    assert samples / SAMPLE_RATE == pytest.approx(2, abs=0.2)
    assert len(found) == 1


# Layouts


@given(
    st.sampled_from([b"caff", b"FORM", b"OggS", b"RIFF"]),
    st.lists(st.sampled_from([b"chan", b"chnl", b"CHAN", b"\0" * 8, b"x"]), max_size=20),
    st.lists(st.integers(1, 30), min_size=1, max_size=20),
)
def test_layouts_are_hidden_in_whatever_pieces_the_file_is_read(
    kind: bytes, parts: list[bytes], sizes: list[int]
) -> None:
    data = kind + b"".join(parts)
    source = WithoutLayouts(spooled(data))
    read = b"".join(source.read(size) for size in sizes)
    assert len(read) == min(sum(sizes), len(data))
    if kind in (b"FORM", b"RIFF"):
        assert not any(name in read for name in (b"chan", b"chnl", b"CHAN"))
