"""What a transcript may lack, as lines for standard error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reflector_gpu.types import Span, Track, Transcript

_MOST = 5  # stretches that one line lists


def warnings(transcript: Transcript) -> Iterator[str]:
    """A line for each kind of warning."""
    condition = transcript.condition
    if transcript.unheard:
        yield f"nothing was understood of what is said at {_listed(transcript.unheard)}"
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
