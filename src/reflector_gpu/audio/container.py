"""Media files as FFmpeg's demuxers read them: opening one, its frames, and their time stamps.

Client bytes reach native demuxers here, so only plain media containers are let through: playlists
(HLS, concat, SDP) could make FFmpeg open other files or addresses.
"""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from reflector_gpu.audio.damage import Damage
from reflector_gpu.audio.layouts import WithoutLayouts
from reflector_gpu.audio.spool import SpoolReader
from reflector_gpu.errors import UndecodableAudio

ANOTHER_CLOCK = 600.0
"""Seconds. A longer jump of a broadcast's time stamps means that they have started anew."""

READABLE = (
    "wav, mp3, mp4, m4a, mov, mkv, webm, ogg, opus, flac, aac, ac3, aiff, amr, au, avi, caf, flv, "
    "mp2, mpeg, ts, w64, wma, wv"
)

_DEMUXERS = (
    "aac,ac3,aiff,amr,asf,au,avi,caf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav,wv"
)
_DECODERS = (
    "aac,aac_latm,ac3,alac,amrnb,amrwb,dca,eac3,flac,g722,g723_1,g726,g726le,g729,gsm,gsm_ms,ilbc,"
    "libopencore_amrnb,libopencore_amrwb,libopus,mlp,mp1,mp1float,mp2,mp2float,mp3,mp3float,"
    "nellymoser,opus,pcm_alaw,pcm_bluray,pcm_dvd,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,"
    "pcm_mulaw,pcm_s16be,pcm_s16be_planar,pcm_s16le,pcm_s16le_planar,pcm_s24be,pcm_s24le,"
    "pcm_s24le_planar,pcm_s32be,pcm_s32le,pcm_s32le_planar,pcm_s64be,pcm_s64le,pcm_s8,"
    "pcm_s8_planar,pcm_u16be,pcm_u16le,pcm_u24be,pcm_u24le,pcm_u32be,pcm_u32le,pcm_u8,speex,"
    "truehd,tta,vorbis,wavpack,wmalossless,wmapro,wmav1,wmav2,wmavoice,"
    "adpcm_g722,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_swf,adpcm_yamaha"
)
_MOST_TRACKS = 128  # of any kind; a file with more was made to do harm
_OPTIONS = {
    "format_whitelist": _DEMUXERS,
    "codec_whitelist": _DECODERS,  # pictures and films are not even looked into
    "max_streams": str(_MOST_TRACKS),
    "protocol_whitelist": "none",
    "max_probe_packets": "1",  # else every packet of a short WAV is searched for DTS, which is slow
}
# Time stamps are guessed.
_NO_CLOCK = ("aac", "ac3", "aiff", "amr", "au", "eac3", "flac", "mp3", "w64", "wav", "wv")
_FLAGS_DAMAGE = ("mov,mp4,m4a,3gp,3g2,mj2", "flv", "mpegts", "mpeg")  # others: any short packet
_ANY_CLOCK = ("mpeg", "mpegts")  # broadcasts, put together from parts that count anew
_MOST_FAILURES = 20_000  # in a row, of a demuxer; 64 KB of damage are one in Ogg, 2,048 in WavPack
_A_DAY = 86_400.0
_HONEST_BYTES = 32 << 20  # more than any packet of a recording needs
_LONGEST_FRAME = 1 << 18  # samples; FLAC has 65,535 at most
_LOWEST_RATE = 2_000  # Hz; a few bytes at 1 Hz would resample to gigabytes
_HIGHEST_RATE = 768_000  # Hz; a second of it is held in memory
_FIRST_BOXES = (b"ftyp", b"mdat", b"wide", b"free", b"skip")  # old QuickTime files lack ``ftyp``
_MAX_BOXES = 100  # before the samples or their index; real files have a handful


def check_not_empty(reader: SpoolReader) -> None:
    """Wait for the first byte.

    Raises:
        UndecodableAudio: there is none.
    """
    if not reader.read(1):
        raise UndecodableAudio("The file is empty.", param="file")
    reader.seek(0)


def opened(reader: SpoolReader) -> InputContainer:
    """The container that ``reader`` reads. The caller closes it.

    Raises:
        UndecodableAudio: it is of no kind that we read.
        MemoryError
    """
    if not reader.seekable() and _index_comes_last(reader):
        reader.allow_seeking()
    try:
        return av.open(
            WithoutLayouts(reader),
            mode="r",
            container_options=_OPTIONS,
            metadata_errors="ignore",
        )
    except MemoryError as error:
        _check_memory(error)
        raise UndecodableAudio(
            f"The file is damaged, or has more than {_MOST_TRACKS} tracks.", param="file"
        ) from error
    except av.FFmpegError as error:
        raise UndecodableAudio(_refusal(reader), param="file") from error


def _refusal(reader: SpoolReader) -> str:
    if _index_comes_last(reader):
        return (
            "The file is incomplete: an MP4 or MOV is read by the index at its end, which is "
            "missing or damaged. Send the whole file."
        )
    return f"The file is not audio that this server reads; send one of: {READABLE}."


def claimed_seconds(container: InputContainer) -> float | None:
    """How long the recording says it is: an estimate, None where it does not say."""
    return container.duration / av.time_base if container.duration else None


def keeps_time(container: InputContainer) -> bool:
    """Whether the time stamps are stored, and not counted from the start."""
    return container.format.name not in _NO_CLOCK


def longest_hole(container: InputContainer) -> float:
    """Seconds. A longer jump of the time stamps is no hole, but another clock or a broken one."""
    if container.format.name in _ANY_CLOCK:
        return ANOTHER_CLOCK
    seconds = claimed_seconds(container)
    return _A_DAY if seconds is None else min(max(seconds, ANOTHER_CLOCK), _A_DAY)


def damage_of(container: InputContainer) -> Damage:
    """What notices damage in ``container`` while its `frames` are read."""
    return Damage(container.format.name, clock=keeps_time(container))


def frames(
    container: InputContainer, stream: AudioStream, damage: Damage
) -> Iterator[tuple[Packet[Stream], AudioFrame]]:
    """What can be decoded: damage is skipped, and a truncated file gives what it holds.

    ``damage`` is told of what cannot be decoded.

    Raises:
        UndecodableAudio: a packet holds more than any encoder puts into one.
        MemoryError
    """
    failures, index = 0, stream.index
    flags_damage = container.format.name in _FLAGS_DAMAGE
    while failures < _MOST_FAILURES:
        try:
            for packet in container.demux():
                failures = 0
                damage.any_packet(packet)
                if packet.stream.index != index:  # the last packets have no other number
                    continue
                try:
                    found = packet.decode()
                except av.FFmpegError as error:  # a damaged packet: the next one may be sound
                    _check_memory(error)
                    damage.failed(packet)
                    continue
                for frame in found:
                    if isinstance(frame, AudioFrame):
                        if frame.samples > _LONGEST_FRAME:
                            raise _too_long(frame)
                        yield packet, frame
                if flags_damage and packet.is_corrupt:
                    damage.failed(packet)
            return
        except av.InvalidDataError:
            failures += 1  # a damaged stretch of the container, behind which it may go on
            damage.failed()
        except (av.FFmpegError, IndexError) as error:  # IndexError: PyAV, a track appears midway
            _check_memory(error)
            damage.failed()
            return  # a truncated container: what came before it counts


def _check_memory(error: Exception) -> None:
    """Raise ``error`` if there is no memory left, which is no damage of the recording.

    FFmpeg says so as well of sizes that damage has made impossible, and of too many tracks.
    """
    if isinstance(error, MemoryError) and is_memory_short():
        raise error


def is_memory_short() -> bool:
    """Whether this process can get hardly any more memory."""
    try:
        bytearray(_HONEST_BYTES)
    except MemoryError:
        return True
    return False


def _too_long(frame: AudioFrame) -> UndecodableAudio:
    return UndecodableAudio(
        f"A single packet of the file holds {frame.samples} samples; {_LONGEST_FRAME} can be read.",
        param="file",
    )


def check_rate(rate: int) -> None:
    """
    Raises:
        UndecodableAudio: no recording has so few or so many samples a second.
    """
    if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
        raise UndecodableAudio(
            f"The audio has {rate} samples a second; "
            f"{_LOWEST_RATE} to {_HIGHEST_RATE} can be read.",
            param="file",
        )


class Clock:
    """Finds holes by comparing time stamps with the samples that came, as small holes add up."""

    def __init__(
        self, start: float | None, *, shortest: float = 0.25, longest: float = ANOTHER_CLOCK
    ) -> None:
        """``start``: where the recording begins. A film's picture may come before its sound.

        Holes are longer than ``shortest`` seconds. From ``longest`` on it is no hole, but a
        broken clock.
        """
        self._now = start
        self._running = False
        self._shortest = shortest
        self._longest = longest

    def hole_before(self, frame: AudioFrame) -> float:
        """The seconds of silence that are missing before ``frame``, which is then counted."""
        hole = 0.0
        begins = frame.time
        if begins is not None:
            gap = 0.0 if self._now is None else begins - self._now
            if self._shortest < gap < self._longest:
                hole = gap
            if hole or not self._running or abs(gap) >= self._longest:
                self._now, self._running = begins, True
        if self._now is not None:
            self._now += frame.samples / frame.sample_rate
        return hole


def _index_comes_last(reader: SpoolReader) -> bool:
    """Whether this is an MP4 or MOV (ISO 14496-12) whose ``moov`` stands behind its ``mdat``."""
    offset = 0
    for _ in range(_MAX_BOXES):
        header = reader.peek(offset, 16)
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if kind == b"mdat":
            return True
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if kind == b"moov" or size < 8 or (offset == 0 and kind not in _FIRST_BOXES):
            return False
        offset += size
    return False
