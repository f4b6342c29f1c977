"""Apple Lossless in MP4: one packet may hold as many samples as its head says."""

from __future__ import annotations

import struct

from fuzz.media.iso import SampleTable, box, movie, sound_entry, sound_track

_LONGEST_RUN = 65_535  # zeros that one code stands for


class _Bits:
    """Bits, the highest first, as many as asked for at a time."""

    def __init__(self) -> None:
        self._text: list[str] = []

    def put(self, value: int, width: int) -> None:
        self._text.append(f"{value:0{width}b}")

    def packed(self) -> bytes:
        text = "".join(self._text)
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


def silent_packet(samples: int) -> bytes:
    """``samples`` zeros in a few hundred bytes, by the codec's code for runs of zeros."""
    bits = _Bits()
    bits.put(0, 3)  # one channel
    bits.put(0, 4 + 12)  # its number, and nothing
    bits.put(0, 1 + 2 + 1)  # as many samples as the head says, no bytes beside them, compressed
    bits.put(0, 8 + 8)  # the mix of channels
    bits.put(0, 4)  # prediction
    bits.put(1, 4)
    bits.put(4, 3)
    bits.put(0, 5)
    made = 0
    while made < samples:
        bits.put(0, 1)  # a zero
        made += 1
        if made < samples:
            run = min(_LONGEST_RUN, samples - made)
            bits.put(0x1FF, 9)  # a run of them
            bits.put(_LONGEST_RUN, 16)
            made += run
    bits.put(7, 3)  # the end
    return bits.packed()


def huge_packet(samples: int, rate: int = 2_000) -> bytes:
    """An M4A of one packet with ``samples`` samples, which a decoder gives as a single frame."""
    packet = silent_packet(samples)
    head = struct.pack(">IIBBBBBBHIII", 0, samples, 0, 16, 40, 0, 14, 1, 255, 0, 0, rate)
    entry = sound_entry(b"alac", rate, details=box(b"alac", head))

    def file(offset: int) -> bytes:
        table = SampleTable(1, samples, size=0, sizes=(len(packet),), offset=offset)
        return movie([sound_track(entry, table, rate=rate)], packet)

    return file(file(0).index(b"mdat") + 4)
