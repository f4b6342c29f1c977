"""Transcription on a server, over its streaming API."""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import replace

import httpx
from pydantic import ValidationError

from reflector_gpu.cli.server_address import base_url, headers
from reflector_gpu.cli.server_errors import explained, refusal
from reflector_gpu.cli.sources import Report, Source
from reflector_gpu.cli.voices import reference
from reflector_gpu.errors import UpstreamFailed
from reflector_gpu.formats import audio_warnings
from reflector_gpu.formats.schemas import DiarizedSegment, SpokenWord, Warnings
from reflector_gpu.formats.stream_events import DeltaEvent, DoneEvent
from reflector_gpu.pipeline.transcription import Part
from reflector_gpu.service.parameters import RecordingParameters
from reflector_gpu.transcriber import Options
from reflector_gpu.types import Segment, Word

_TIMEOUTS = httpx.Timeout(120.0, connect=10.0)  # a working server says something every 15 s
_TRIES = 5
_LONGEST_WAIT = 60.0  # seconds
_BUSY = (429, 503)


class RemoteTranscriber:
    """A reflector-gpu server."""

    concurrency = 4

    def __init__(self, server: str, key: str | None, options: Options) -> None:
        """``server`` is its address, with or without ``/v1``.

        Raises:
            InvalidRequest: an option, the address or the key cannot be right.
        """
        self._form = _form_of(RecordingParameters.of(**options))
        self._client = httpx.AsyncClient(
            headers=headers(key), base_url=base_url(server), timeout=_TIMEOUTS
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._client:
            yield

    async def parts(self, source: Source, report: Report) -> AsyncGenerator[Part, None]:
        async with AsyncExitStack() as resources:
            with explained(self._client.base_url):
                response = await self._answer(source, report, resources)
                report("recognising")
                async for part in _parts(response, source.seconds()):
                    yield part

    async def _answer(
        self, source: Source, report: Report, resources: AsyncExitStack
    ) -> httpx.Response:
        """The stream of an answer. A busy server is asked again after the time that it names."""
        tries = 1
        while True:
            with _Upload.of(source, report) as upload:
                response = await self._client.send(self._request(source, upload), stream=True)
            resources.push_async_callback(response.aclose)
            if response.is_success:
                return response
            wait = _retry_after(response)
            if wait is None or tries == _TRIES:
                raise refusal(response.status_code, await response.aread())
            await response.aclose()
            report("waiting for the server")
            await asyncio.sleep(wait)
            tries += 1

    def _request(self, source: Source, upload: io.FileIO | None) -> httpx.Request:
        if upload is None:
            return self._client.build_request(
                "POST",
                "/v1/audio/transcriptions-from-url",
                json={**self._form, "audio_file_url": source.typed},
            )
        return self._client.build_request(
            "POST",
            "/v1/audio/transcriptions",
            data=self._form,
            files={"file": (source.label, upload)},
        )


def _form_of(parameters: RecordingParameters) -> dict[str, str | list[str]]:
    """The fields of the request, as the server's forms and its JSON have them."""
    form: dict[str, str | list[str]] = {"stream": "true"}
    plain = parameters.model_dump(exclude={"diarize", "voices"}, exclude_defaults=True)
    for name, value in plain.items():
        form[name] = ",".join(value) if isinstance(value, tuple) else _written(value)
    if parameters.tells_speakers:
        form |= {"diarize": "true", "response_format": "diarized_json"}
    if parameters.voices:
        form["known_speaker_names"] = list(parameters.voices)
        form["known_speaker_references"] = [
            reference(audio) for audio in parameters.voices.values()
        ]
    return form


def _written(value: object) -> str:
    """``value`` as forms have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Upload(io.FileIO):
    """A file that reports how much of it has been read, and is never in memory as a whole."""

    def __init__(self, source: Source, report: Report) -> None:
        with source.opened() as file:
            super().__init__(os.dup(file.fileno()))
        self._size = os.fstat(self.fileno()).st_size
        self._report = report

    @classmethod
    def of(cls, source: Source, report: Report) -> AbstractContextManager[_Upload | None]:
        """The file of ``source``. None for a URL, which the server fetches itself."""
        return nullcontext() if source.remote else cls(source, report)

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size)
        self._report(f"sending {100 * self.tell() // max(1, self._size)}%")
        return data or b""


async def _parts(response: httpx.Response, seconds: float | None) -> AsyncGenerator[Part, None]:
    """The events of a stream as parts; ``seconds`` is what we know of the recording's length."""
    segments: list[Segment] = []
    turns: list[DiarizedSegment] = []
    async for event in _events(response):
        if "error" in event:
            raise refusal(200, json.dumps(event).encode())
        try:
            if event.get("type") == "transcript.text.delta":
                segment = _segment(DeltaEvent.model_validate(event), bool(segments))
                segments.append(segment)
                yield Part((segment,), segment.end)
            elif event.get("type") == "transcript.text.segment":
                turns.append(DiarizedSegment.model_validate(event))
            elif event.get("type") == "transcript.text.done":
                done = DoneEvent.model_validate(event)
                language = done.languages[0].code if done.languages else None
                duration = _duration(done.usage.seconds, seconds)
                final = _final(segments, turns, done)
                told = done.warnings or Warnings()
                yield Part(
                    (),
                    duration,
                    language,
                    duration,
                    final,
                    told.unheard or (),
                    audio_warnings.condition_of(told),
                )
                return
        except ValidationError:
            raise UpstreamFailed("The server sends no times: it is no reflector-gpu.") from None
    raise UpstreamFailed("The server's answer ends early.")


def _final(
    segments: Sequence[Segment], turns: Sequence[DiarizedSegment], done: DoneEvent
) -> tuple[Segment, ...] | None:
    """All segments again, if the last events have brought their speakers or translations."""
    if turns:
        words = [word for segment in segments for word in segment.words]
        return tuple(_attributed(turns, words))
    if done.segments is None:
        return None
    # The last events have the same segments, and know more about them.
    pairs = zip(segments, done.segments, strict=False)
    return tuple(replace(segment, translation=told.translation) for segment, told in pairs)


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, object]]:
    rest = b""
    async for data in response.aiter_bytes():
        # Only line feeds end a line here; httpx would also split at U+2028 inside of a text.
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                try:
                    yield json.loads(line[6:])
                except ValueError:
                    raise UpstreamFailed("The server's answer makes no sense.") from None


def _segment(event: DeltaEvent, follows: bool) -> Segment:
    words = tuple(_words(event.delta, event.words, follows))
    return Segment(event.start, event.end, event.delta.strip(), words)


def _words(text: str, words: Sequence[SpokenWord], follows: bool) -> Iterator[Word]:
    """``words`` as ours. Those before which ``text`` has no space are glued.

    ``follows``: there was text before this one.
    """
    position = 0
    for word in words:
        found = max(position, text.find(word.word, position))
        glued = position == found and (follows or position > 0)
        position = found + len(word.word)
        yield Word(word.word, word.start, word.end, word.probability, word.speaker, glued)


def _attributed(turns: Sequence[DiarizedSegment], words: Sequence[Word]) -> Iterator[Segment]:
    """``turns`` as segments, each with those of ``words`` that spell its text."""
    position = 0
    for turn in turns:
        begin, length = position, 0
        while position < len(words) and length < len(turn.text):
            length += len(words[position].text) + (not words[position].glued and position > begin)
            position += 1
        own = tuple(replace(word, speaker=turn.speaker) for word in words[begin:position])
        yield Segment(
            turn.start, turn.end, turn.text, own, turn.speaker, translation=turn.translation
        )


def _duration(rounded_up: int, seconds: float | None) -> float:
    """The server rounds up to whole seconds. The file's header is exact, if it agrees."""
    agrees = seconds is not None and math.ceil(seconds) == rounded_up
    return seconds if agrees and seconds is not None else float(rounded_up)


def _retry_after(response: httpx.Response) -> float | None:
    """The seconds that a busy server asks to wait. None if asking again would not help."""
    header = response.headers.get("retry-after", "")
    if response.status_code not in _BUSY or not header.isdecimal():
        return None
    return float(header) if float(header) <= _LONGEST_WAIT else None
