"""Finds where a recording is damaged while it is decoded.

Some demuxers report damage as errors. Others silently go on after it. Then it shows as bytes that
belong to no packet, together with a hole in the time stamps.
"""

from __future__ import annotations

from av.packet import Packet
from av.stream import Stream

from reflector_gpu.types import Span

_FOREIGN_BYTES = 1_024  # between two packets; no container's own data there is as long
_LOST_AT_THE_START = 4_096  # bytes; recordings of broadcasts may begin inside a packet
_APART = 0.5  # seconds; two stretches that are closer count as one
_AT_THE_END = 0.25  # seconds
_LATE = 2.0  # seconds; a page of Ogg usually holds one
_NUMBERED = ("flac", "wv")  # each packet has the number of its first sample
_ALIKE = ("mp3", "ac3", "eac3")  # at a constant bit rate, which is the usual one


class Damage:
    """Finds damaged stretches, and how much time is missing there."""

    def __init__(self, kind: str, *, clock: bool) -> None:
        """``kind`` is the container's. If it has a ``clock``, time stamps show how much is missing;
        otherwise numbers of samples or bytes do."""
        self.seconds = 0.0
        """Seconds that are decoded so far, including silence for what is missing."""
        self._clock = clock
        self._numbered = kind in _NUMBERED
        self._pages = kind == "ogg"  # packets have the position of their page, not their own
        self._alike = kind in _ALIKE
        self._sizes: tuple[int, int] | None = None  # the least and the largest so far
        self._short = False
        self._failed = False
        self._failed_bytes = 0
        self._sound_bytes = 0
        self._foreign = 0
        self._sound_end: int | None = None  # of the last packet that could be decoded
        self._end: int | None = None  # of the last packet of any track
        self._spans: list[Span] = []

    def any_packet(self, packet: Packet[Stream]) -> None:
        """Take the next packet of any track."""
        size, position, end = packet.size, packet.pos, self._end
        if size and position is not None and position >= 0:
            if end is not None and not self._pages and position - end > self._foreign:
                self._foreign = position - end
            if end is None or position + size > end:
                self._end = position + size

    def failed(self, packet: Packet[Stream] | None = None) -> None:
        """Note that ``packet``, or what comes next in the container, cannot be decoded."""
        self._failed = True
        self._failed_bytes += packet.size if packet else 0

    def missing_before(self, packet: Packet[Stream], seconds: float, hole: float) -> float:
        """Seconds of silence to put before ``packet``, which is ``seconds`` long.

        ``hole`` is how much is missing by its time stamp.
        """
        missing = 0.0
        if hole > 0 or self._failed or self._foreign:  # most packets have nothing before them
            missing = self._lost_before(packet, seconds, hole)
        size, position = packet.size, packet.pos
        if position is not None and position >= 0:
            self._sound_end = position + size
        self._sound_bytes += size
        if self._alike:
            self._measure(size)
        self.seconds += missing + seconds
        return missing

    def _lost_before(self, packet: Packet[Stream], seconds: float, hole: float) -> float:
        foreign = self._foreign > _FOREIGN_BYTES and (hole > 0 or not self._clock)
        # If only pages have time stamps, the hole shows after the damage.
        damaged = self._failed or foreign or (hole > 0 and self._lately())
        missing = hole if self._clock else 0.0
        if damaged and self._sound_bytes:
            if not self._clock:
                missing = hole if self._numbered else self._skipped(packet)
            self._add(self.seconds, self.seconds + max(missing, seconds))
        elif damaged and self._failed_bytes > _LOST_AT_THE_START:
            self._add(0.0, max(missing, seconds))
        self._failed, self._failed_bytes, self._foreign = False, 0, 0
        return missing

    @property
    def spans(self) -> tuple[Span, ...]:
        return tuple(self._spans)

    @property
    def end(self) -> int:
        """The position after the last packet, in bytes."""
        return self._end or 0

    @property
    def lasts(self) -> bool:
        """Whether nothing could be decoded after the last damage."""
        at_end = self._spans and self.seconds - self._spans[-1][1] < _AT_THE_END
        return self._failed or self._short or bool(at_end)

    @property
    def cuts_a_packet(self) -> bool:
        """Whether the last packet is incomplete or could not be decoded."""
        return self.lasts and (self._failed_bytes > 0 or self._short)

    def _lately(self) -> bool:
        return bool(self._spans) and self.seconds - self._spans[-1][1] < _LATE

    def _measure(self, size: int) -> None:
        """Note the size of a packet, and whether it is cut short where all others have one size."""
        if self._sizes is None:
            self._sizes = size, size
        least, most = self._sizes
        self._short = most - least <= 1 and size < least - 1
        if not (self._short or least <= size <= most):
            self._sizes = min(least, size), max(most, size)

    def _skipped(self, packet: Packet[Stream]) -> float:
        """How many seconds the bytes since the last good packet hold at the usual rate."""
        if packet.pos is None or self._sound_end is None or not self.seconds:
            return 0.0
        return max(0, packet.pos - self._sound_end) * self.seconds / self._sound_bytes

    def _add(self, begin: float, end: float) -> None:
        if self._spans and begin - self._spans[-1][1] < (_LATE if self._pages else _APART):
            begin = self._spans.pop()[0]
        self._spans.append((begin, end))
