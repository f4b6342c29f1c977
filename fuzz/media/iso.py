"""ISO base media files (MP4, M4A, MOV: ISO 14496-12) whose tables claim what is not there."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_UNIT_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_AAC_LC_16_KHZ_MONO = bytes.fromhex(
    "0380808022000100048080801440150000000001f4000001f40005808080021408068080800102"
)
"""The descriptors of an ``esds`` box (ISO 14496-1)."""
_TIMESCALE = 1000


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, *content: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A box that tells its version and its flags first."""
    return box(kind, struct.pack(">I", version << 24 | flags), *content)


@dataclass(frozen=True, slots=True)
class SampleTable:
    """What a track claims of its samples, be they there or not."""

    count: int
    duration: int = 1024
    """Ticks of each sample."""
    size: int = 1
    """Bytes of each sample; 0: they are listed in ``sizes``."""
    sizes: tuple[int, ...] = ()
    offset: int = 48
    """Where in the file the only chunk of samples begins."""

    def boxes(self, entry: bytes) -> bytes:
        listed = struct.pack(f">{len(self.sizes)}I", *self.sizes)
        return box(
            b"stbl",
            full_box(b"stsd", struct.pack(">I", 1), entry),
            full_box(b"stts", struct.pack(">III", 1, self.count, self.duration)),
            full_box(b"stsc", struct.pack(">IIII", 1, 1, self.count, 1)),
            full_box(b"stsz", struct.pack(">II", self.size, self.count), listed),
            full_box(b"stco", struct.pack(">II", 1, self.offset)),
        )


def sound_entry(codec: bytes, rate: int, *, details: bytes) -> bytes:
    """A mono entry of ``stsd``: 16 bits at ``rate``."""
    form = struct.pack(">6xHHHIHHHHI", 1, 0, 0, 0, 1, 16, 0, 0, rate << 16)
    return box(codec, form, details)


def picture_entry(codec: bytes, width: int, height: int) -> bytes:
    """An entry of ``stsd`` for video."""
    sides = struct.pack(">HHIIIH", width, height, 0x480000, 0x480000, 0, 1)
    form = struct.pack(">6xH16x", 1) + sides + bytes(32) + struct.pack(">Hh", 24, -1)
    return box(codec, form)


def sound_track(entry: bytes, table: SampleTable, *, rate: int = 16_000, number: int = 1) -> bytes:
    return _track(entry, table, b"soun", full_box(b"smhd", bytes(4)), rate, number)


def picture_track(entry: bytes, table: SampleTable, *, number: int = 1) -> bytes:
    head = full_box(b"vmhd", bytes(8), flags=1)
    return _track(entry, table, b"vide", head, _TIMESCALE, number)


def _track(
    entry: bytes, table: SampleTable, handler: bytes, head: bytes, timescale: int, number: int
) -> bytes:
    ticks = min(table.count * table.duration, 2**32 - 1)
    place = full_box(b"dref", struct.pack(">I", 1), full_box(b"url ", flags=1))
    return box(
        b"trak",
        full_box(
            b"tkhd",
            struct.pack(">IIIII8xhhhh", 0, 0, number, 0, _TIMESCALE, 0, 0, 0x100, 0),
            _UNIT_MATRIX,
            bytes(8),
            flags=7,
        ),
        box(
            b"mdia",
            full_box(b"mdhd", struct.pack(">IIIIHH", 0, 0, timescale, ticks, 0x55C4, 0)),
            full_box(b"hdlr", struct.pack(">I4s12x", 0, handler), b"x\0"),
            box(b"minf", head, box(b"dinf", place), table.boxes(entry)),
        ),
    )


def movie(tracks: Sequence[bytes], samples: bytes = bytes(64), *, more: bytes = b"") -> bytes:
    """A file of ``tracks``; ``more`` stands in ``moov`` behind them."""
    head = full_box(
        b"mvhd",
        struct.pack(">IIIIIH10x", 0, 0, _TIMESCALE, _TIMESCALE, 0x10000, 0x100),
        _UNIT_MATRIX,
        bytes(24),
        struct.pack(">I", 2),
    )
    kind = box(b"ftyp", b"isom\0\0\2\0isomiso2mp41")
    return kind + box(b"moov", head, *tracks, more) + box(b"mdat", samples)


def aac_entry() -> bytes:
    return sound_entry(b"mp4a", 16_000, details=full_box(b"esds", _AAC_LC_16_KHZ_MONO))


def many_samples(count: int) -> bytes:
    """A kilobyte whose sample table claims ``count`` samples, of which a demuxer makes an index."""
    return movie([sound_track(aac_entry(), SampleTable(count))])


def many_pictures(tracks: int) -> bytes:
    """A sound track behind ``tracks`` tracks of H.264. Each may get a decoder."""
    entry, table = picture_entry(b"avc1", 16, 16), SampleTable(1000)
    pictures = [picture_track(entry, table, number=n) for n in range(2, tracks + 2)]
    return movie([*pictures, sound_track(aac_entry(), SampleTable(10, size=4))])


def long_fragment(count: int) -> bytes:
    """A fragment that claims ``count`` samples and lists none: all are as the defaults say."""
    defaults = full_box(b"trex", struct.pack(">IIIII", 1, 1, 1024, 1, 0))
    track = sound_track(aac_entry(), SampleTable(0))
    run = full_box(b"trun", struct.pack(">I", count))
    fragment = box(
        b"moof",
        full_box(b"mfhd", struct.pack(">I", 1)),
        box(b"traf", full_box(b"tfhd", struct.pack(">I", 1)), run),
    )
    return movie([track], b"", more=box(b"mvex", defaults)) + fragment + box(b"mdat", bytes(64))


def many_tags(count: int) -> bytes:
    """Tags in iTunes' own form, each under a name of its own."""

    def tag(number: int) -> bytes:
        value = box(b"data", struct.pack(">II", 1, 0), b"x")
        name = full_box(b"name", b"%d" % number)
        return box(b"----", full_box(b"mean", b"com.apple.iTunes"), name, value)

    handler = full_box(b"hdlr", struct.pack(">I4s12x", 0, b"mdir"), b"\0")
    tags = box(b"ilst", *(tag(number) for number in range(count)))
    meta = box(b"udta", full_box(b"meta", handler, tags))
    return movie([sound_track(aac_entry(), SampleTable(10, size=4))], more=meta)


def deep_boxes(depth: int) -> bytes:
    """Boxes within boxes, ``depth`` of them, all of a kind that holds others."""
    inner = b""
    for _ in range(depth):
        inner = box(b"udta", inner)
    return movie([sound_track(aac_entry(), SampleTable(10, size=4))], more=inner)
