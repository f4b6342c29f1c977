"""Finds out whether a file ends where its container says.

A container says its length in samples, in bytes, or not at all. A live recording has none, and is
not taken to be truncated.
"""

from __future__ import annotations

from av.container import InputContainer

from reflector_gpu.audio.container import claimed_seconds
from reflector_gpu.audio.damage import Damage
from reflector_gpu.audio.spool import SpoolReader
from reflector_gpu.audio.wav import LIVE_BYTES, claimed_wav_seconds
from reflector_gpu.types import Span, Truncation

_TOLERANCE = 0.2  # seconds by which encoders pad
_MOV, _MATROSKA = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"
_COUNTED = ("flac", "wv", "au", "aiff", "caf", "wav", "mp3")
"""Formats whose heads may have the number of samples."""
_TIMED = (_MOV, _MATROSKA, "flv", "asf")
"""Formats that have the length of their longest track."""
_MOST_BOXES = 100_000
_LONGEST_PAGE = 65_307  # bytes, of Ogg
_TS_PACKET = 188  # bytes, of an MPEG transport stream
_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_BLOCK_HEAD = 4  # bytes from FFmpeg's position of a Matroska packet to its data
_IN_SEGMENTS = tuple(  # RFC 9559: elements that may follow a block
    bytes.fromhex(one)
    for one in "1F43B675 E7 A3 A0 A1 9B FB 75A2 A7 AB EC BF 1C53BB6B 1254C367".split()
)


def flaws(
    reader: SpoolReader, container: InputContainer, damage: Damage
) -> tuple[tuple[Span, ...], Truncation | None]:
    """The damage of a decoded recording, and whether its end is missing."""
    damaged, decoded, claimed = damage.spans, damage.seconds, _claimed(reader, container)
    missing = claimed is not None and claimed - decoded > _TOLERANCE
    short = missing and not damaged and container.format.name in _COUNTED
    if short or ((missing or claimed is None) and _is_cut(reader, container, damage)):
        return damaged, Truncation(decoded, claimed if missing else None)
    if damage.lasts and claimed is not None and missing:
        return (*damaged, (decoded, claimed)), None
    if damage.cuts_a_packet and claimed is None:
        return damaged, Truncation(decoded)
    return damaged, None


def _claimed(reader: SpoolReader, container: InputContainer) -> float | None:
    """The seconds that the container says it has. None if that would be an estimate."""
    name = container.format.name
    if name == "wav":
        return claimed_wav_seconds(reader)
    if name == "mp3":
        return _mp3_seconds(reader, container.streams.audio[0].rate)
    return claimed_seconds(container) if name in (*_COUNTED, *_TIMED) else None


def _mp3_seconds(reader: SpoolReader, rate: int) -> float | None:
    """The seconds of an MP3 by the number in its first frame, which a stream does not have."""
    head, begin = reader.peek(0, 10), 0
    if head[:3] == b"ID3":
        sizes = (byte << 7 * place for place, byte in enumerate(reversed(head[6:10])))
        begin = 10 + sum(sizes)
    frame = reader.peek(begin, 256)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    told = frame[at + 7 : at + 12]  # flags, the last of which says that a number follows, and that
    if at <= 0 or len(told) < 5 or not told[0] & 1 or rate <= 0:
        return None
    return int.from_bytes(told[1:], "big") * (1_152 if rate >= 32_000 else 576) / rate or None


def _is_cut(reader: SpoolReader, container: InputContainer, damage: Damage) -> bool:
    """Whether bytes are missing at the end, by the sizes in the container."""
    name = container.format.name
    if name == _MOV:
        return _boxes_are_cut(reader)
    if name == _MATROSKA:
        return _segment_is_cut(reader, damage.end)
    if name == "avi":
        size = int.from_bytes(reader.peek(4, 4), "little")
        return size < LIVE_BYTES and not reader.peek(7 + size, 1)
    if name == "ogg":
        return _page_is_cut(reader)
    if name == "mpegts":
        packed = reader.peek(_TS_PACKET, 1) == b"G" == reader.peek(0, 1)
        return packed and (reader.total or 0) % _TS_PACKET > 0
    return damage.lasts and name in _TIMED


def _boxes_are_cut(reader: SpoolReader) -> bool:
    """ISO 14496-12: every box begins with its size and its type."""
    offset = 0
    for _ in range(_MOST_BOXES):
        header = reader.peek(offset, 16)
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if len(header) < 8 or size < 8:
            return False  # the end; a box of size 0 reaches to the end of the file
        offset += size
        if not reader.peek(offset - 1, 1):
            return True
    return False


def _segment_is_cut(reader: SpoolReader, last_packet: int) -> bool:
    """RFC 8794: every element begins with its identifier and its size, which may be unknown."""
    head = reader.peek(0, 4_096)
    at = head.find(_SEGMENT)
    if at < 0:
        return False
    begin, size = _element(reader, at)
    if size is not None:
        return not reader.peek(begin + size - 1, 1)
    offset = last_packet + _BLOCK_HEAD
    for _ in range(_MOST_BOXES):
        kind = reader.peek(offset, 4)
        if not kind.startswith(_IN_SEGMENTS):
            return False  # the end, or an unknown element
        begin, size = _element(reader, offset)
        offset = begin if kind == _CLUSTER or size is None else begin + size
        if not reader.peek(offset - 1, 1):
            return True
    return False


def _element(reader: SpoolReader, offset: int) -> tuple[int, int | None]:
    """The position and the size of an element's content."""
    header = reader.peek(offset, 12).ljust(12, b"\0")
    width = 9 - header[0].bit_length()
    if not 1 <= width <= 4:
        return offset + 1, None
    length = 9 - header[width].bit_length()
    size = int.from_bytes(header[width : width + length], "big") & ~(1 << 7 * length)
    return offset + width + length, None if size == (1 << 7 * length) - 1 else size


def _page_is_cut(reader: SpoolReader) -> bool:
    """RFC 3533: a page has a head of 27 bytes, the sizes of its parts, and these."""
    total = reader.total or 0
    begin = max(0, total - _LONGEST_PAGE)
    tail = reader.peek(begin, total - begin)
    at = tail.rfind(b"OggS")
    if at < 0:
        return False
    parts = tail[at + 27 : at + 27 + tail[at + 26]] if len(tail) > at + 26 else b""
    whole = at + 27 + len(parts) + sum(parts)
    return not parts or len(parts) < tail[at + 26] or whole > len(tail)
