"""What a transcript may lack, as lines for standard error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pydantic import ValidationError

from reflector_gpu.errors import UpstreamFailed
from reflector_gpu.formats import audio_warnings
from reflector_gpu.formats.schemas import Warnings
from reflector_gpu.types import Condition, Span, Track, Transcript

_MOST = 5  # stretches that one line lists


def warnings(transcript: Transcript) -> Iterator[str]:
    """A line for each kind of warning."""
    return _lines(transcript.unheard, transcript.condition)


def warnings_of_header(header: str) -> list[str]:
    """The same for `X-Reflector-Warnings` of a server's answer.

    Raises:
        UpstreamFailed: it is not as this package's servers write it.
    """
    try:
        found = Warnings.model_validate_json(header)
    except ValidationError:
        raise UpstreamFailed("The server sends warnings that this program cannot read.") from None
    return list(_lines(found.unheard or (), audio_warnings.condition_of(found)))


def _lines(unheard: Sequence[Span], condition: Condition) -> Iterator[str]:
    if unheard:
        yield f"nothing was understood of what is said at {_listed(unheard)}"
    if condition.damaged:
        yield f"the file is damaged at {_listed(condition.damaged)}"
    if cut := condition.truncated:
        of = f" of {cut.expected:.2f}" if cut.expected else ""
        yield f"the file is truncated: it holds {cut.decoded:.2f}{of} seconds"
    if condition.taken:
        left = ", ".join(map(_described, condition.left))
        yield f"audio track {_described(condition.taken)} was taken; --track picks another: {left}"


def _listed(spans: Iterable[Span]) -> str:
    told = [f"{start:.2f}-{end:.2f}" for start, end in spans]
    more = [f"{len(told) - _MOST} more"] if len(told) > _MOST else []
    return f"{', '.join([*told[:_MOST], *more])} seconds"


def _described(track: Track) -> str:
    return " ".join([str(track.number), *filter(None, (track.language, track.title))])
