"""The audio tracks of a file that has several: films in two languages, meetings with interpreters.

Players number them from 0, in the container's order.
"""

from __future__ import annotations

from dataclasses import dataclass

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from reflector_gpu import languages
from reflector_gpu.errors import InvalidRequest, UndecodableAudio
from reflector_gpu.types import Track

_LONGEST = 100  # characters of a title that we repeat
_UNKNOWN = ("und", "mul", "zxx", "mis")  # ISO 639-2 for no language in particular


@dataclass(frozen=True, slots=True)
class TrackWish:
    """Which track to take: by its number or its language, as a client writes them.

    Without ``wanted`` it is the one in the spoken ``language``, if there is exactly one. Its
    channels are mixed, unless a single ``channel`` is wanted, by its number from 0.
    """

    wanted: str | None = None
    language: str | None = None
    channel: int | None = None


ANY_TRACK = TrackWish()
"""The one that the container flags as its default, else the first."""

ONLY_TRACK = (Track(0),)
"""The tracks of a file that has a single one."""


@dataclass(frozen=True, slots=True)
class TrackChoice:
    """The track that was ``taken``, and those that were ``left`` if the request named none."""

    taken: Track
    left: tuple[Track, ...] = ()


def chosen(tracks: tuple[Track, ...], wish: TrackWish, default: int = 0) -> TrackChoice:
    """The track that is wanted of ``tracks``; ``default`` is the number of the usual one.

    Raises:
        InvalidRequest: there is no such track; the message lists those that there are.
    """
    usual = tracks[default]
    if wish.wanted is not None:
        found = _named(tracks, wish.wanted)
        if not found:
            listed = "; ".join(map(_described, tracks))
            raise InvalidRequest(
                f"The recording has no audio track '{wish.wanted}'. It has: {listed}.",
                param="track",
            )
        return TrackChoice(usual if usual in found else found[0])
    if wish.language and len(found := _spoken(tracks, wish.language)) == 1:
        return TrackChoice(found[0])
    return TrackChoice(usual, tuple(track for track in tracks if track != usual))


def audio_track(
    container: InputContainer, wish: TrackWish = ANY_TRACK
) -> tuple[AudioStream, TrackChoice]:
    """The stream to decode, and how it was chosen.

    Raises:
        UndecodableAudio: there is none.
        InvalidRequest: there is not the one that is wanted.
    """
    streams = container.streams.audio
    if not streams:
        raise UndecodableAudio("The file has no audio track.", param="file")
    numbers = range(len(streams))
    usable = [n for n in numbers if _decodable(streams[n])] or list(numbers)
    flagged = [n for n in usable if streams[n].disposition & Disposition.default]
    tracks = tuple(_track(number, stream) for number, stream in enumerate(streams))
    choice = chosen(tracks, wish, (flagged or usable)[0])
    return streams[choice.taken.number], choice


def _named(tracks: tuple[Track, ...], wanted: str) -> list[Track]:
    if wanted.isdecimal():
        return [track for track in tracks if track.number == int(wanted)]
    literal = [track for track in tracks if (track.language or "").lower() == wanted.lower()]
    return literal or _spoken(tracks, wanted)


def _spoken(tracks: tuple[Track, ...], language: str) -> list[Track]:
    return [
        track for track in tracks if track.language and languages.alike(track.language, language)
    ]


def _decodable(stream: AudioStream) -> bool:
    return stream.codec_context is not None


def _track(number: int, stream: AudioStream) -> Track:
    language = stream.metadata.get("language", "").strip().lower()
    title = " ".join(stream.metadata.get("title", "").split())
    known = language and language not in _UNKNOWN
    return Track(number, language[:_LONGEST] if known else None, title[:_LONGEST] or None)


def _described(track: Track) -> str:
    told = [track.language or "no language", *([f"'{track.title}'"] if track.title else [])]
    return f"{track.number} ({', '.join(told)})"
