"""Recordings that are a whole body, or base64 in a JSON body. Both go straight to disk."""

from __future__ import annotations

import binascii
import re
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack

from pydantic_core import from_json

from reflector_gpu.api.form_values import json_values
from reflector_gpu.api.upload import Form, Upload
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import InvalidRequest, TooLarge

MAX_JSON_BYTES = 20_000_000
"""Largest JSON body, without the recording. References of speakers are audio in data URLs."""

_MOST_MARKS = 100_000
"""Most brackets, commas, colons and quotation marks in it. Each takes time of the event loop."""

_FIELD = "input_audio"
_HOW = f"""'{_FIELD}': {{"data": "<base64>", "format": "wav"}}"""
_BASE64_SPACE = b" \r\n\t"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_LONGEST_HEAD = 256  # bytes of a data URL before its data

_NEXT = re.compile(rb'["{}\[\]:,]')
_END_OR_ESCAPE = re.compile(rb'["\\]')


async def read_raw(body: AsyncIterator[bytes], spool: Callable[[], Spool]) -> Form:
    """Read the whole body as one recording. If that fails, nothing stays on disk.

    Raises:
        TooLarge: it is larger than the spool's limit.
    """
    with ExitStack() as cleanup:
        upload = Upload("audio", cleanup.enter_context(spool()))
        async for data in body:
            upload.spool.write(data)
        upload.spool.finish()
        cleanup.pop_all()
    return Form(files=[upload])


async def read_json(body: AsyncIterator[bytes], spool: Callable[[], Spool]) -> Form:
    """Read JSON that holds a recording: ``{"input_audio": {"data": base64, "format": "wav"}}``.

    Raises:
        InvalidRequest: not JSON, no recording in it, or broken base64.
        TooLarge: the recording is larger than the spool's limit, or the rest than `MAX_JSON_BYTES`.
    """
    with ExitStack() as cleanup:
        recording = cleanup.enter_context(spool())
        decoder = _Base64(recording.write)
        reader = _Reader((_FIELD, "data"), decoder)
        async for data in body:
            reader.feed(data)
        values = json_values(bytes(reader.rest))
        described = values.pop(_FIELD, None)
        if not isinstance(described, dict) or not decoder.ended:
            raise InvalidRequest(
                f"The JSON has no recording; send it as {_HOW}, or the address of one to "
                "/v1/audio/transcriptions-from-url; a line of a batch has that as "
                "'audio_file_url'.",
                param=_FIELD,
            )
        recording.finish()
        cleanup.pop_all()
    ending = re.sub(r"\W", "", str(described.get("format") or ""))[:10]
    name = f"audio.{ending}" if ending else "audio"
    return Form(values=values, files=[Upload(name, recording)])


class _Base64:
    """Decodes the base64 in a JSON string as its pieces arrive. It may be in a data URL."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.ended = False
        self._write = write
        self._raw = b""  # the beginning of an escape
        self._head = b""
        self._begun = False
        self._rest = b""  # less than four characters
        self._padded = False

    def feed(self, piece: bytes) -> None:
        if self.ended:
            raise _broken("it is there twice")
        raw = self._raw + piece
        cut = _complete(raw)
        self._raw = raw[cut:]
        self._take(_unescaped(raw[:cut]))

    def finish(self) -> None:
        self._take(_unescaped(self._raw))
        if not self._begun:
            self._begin(self._head)
        self._decode(b"=" * (-len(self._rest) % 4))
        self.ended = True

    def _take(self, text: bytes) -> None:
        if self._begun:
            self._decode(text)
            return
        self._head += text
        if len(self._head) >= _LONGEST_HEAD:
            self._begin(self._head)

    def _begin(self, head: bytes) -> None:
        self._begun = True
        if head.lstrip().lower().startswith(b"data:"):
            _, comma, head = head.partition(b",")
            if not comma:
                raise _broken("its data URL has no comma")
        self._decode(head)

    def _decode(self, text: bytes) -> None:
        clean = self._rest + text.translate(_URL_SAFE, _BASE64_SPACE)
        whole = len(clean) // 4 * 4
        self._rest = clean[whole:]
        if not whole:
            return
        if self._padded:
            raise _broken("something follows its padding")
        self._padded = clean[:whole].endswith(b"=")
        try:
            self._write(binascii.a2b_base64(clean[:whole], strict_mode=True))
        except binascii.Error as error:
            raise _broken(str(error)) from error


class _Reader:
    """Splits a JSON text: the string at ``path`` goes to ``decoder``, and the ``rest`` is kept."""

    def __init__(self, path: tuple[str, ...], decoder: _Base64) -> None:
        self.rest = bytearray()
        self._path = [name.encode() for name in path]
        self._decoder = decoder
        self._keys: list[bytes] = []  # of the objects and lists that are open, from the outside in
        self._key = b""  # of the value that comes next
        self._string: int | None = None  # where the string that is open begins in the rest
        self._last = b""  # the string that was closed last
        self._marks = 0
        self._escaped = False
        self._decoding = False

    def feed(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._decoding:
                at = self._decode(data, at)
            elif self._string is not None:
                at = self._inside(data, at)
            else:
                at = self._outside(data, at)

    def _decode(self, data: bytes, at: int) -> int:
        end = data.find(b'"', at)
        if end < 0:
            self._decoder.feed(data[at:])
            return len(data)
        self._decoder.feed(data[at:end])
        self._decoder.finish()
        self._decoding = False
        self._keep(b'"')
        return end + 1

    def _inside(self, data: bytes, at: int) -> int:
        if self._escaped:
            self._escaped = False
            self._keep(data[at : at + 1])
            return at + 1
        found = _END_OR_ESCAPE.search(data, at)
        end = found.end() if found else len(data)
        self._keep(data[at:end])
        if found and found[0] == b"\\":
            self._escaped = True
        elif found:
            self._last = bytes(self.rest[self._string : -1])
            self._string = None
        return end

    def _outside(self, data: bytes, at: int) -> int:
        found = _NEXT.search(data, at)
        end = found.end() if found else len(data)
        self._keep(data[at:end])
        if found:
            self._punctuation(found[0])
        return end

    def _punctuation(self, mark: bytes) -> None:
        self._marks += 1
        if self._marks > _MOST_MARKS:
            raise TooLarge("The JSON body holds more fields than any request needs.")
        if mark == b'"':
            self._decoding = [*self._keys[1:], self._key] == self._path
            self._string = None if self._decoding else len(self.rest)
        elif mark == b":":
            self._key = self._last
        elif mark == b",":
            self._key = b""
        elif mark in b"{[":
            self._keys.append(self._key)
            self._key = b""
        elif self._keys:
            self._key = self._keys.pop()

    def _keep(self, data: bytes) -> None:
        self.rest += data
        if len(self.rest) > MAX_JSON_BYTES:
            raise TooLarge(f"The JSON body is larger than {MAX_JSON_BYTES} bytes.")


def _complete(raw: bytes) -> int:
    """The length of ``raw`` without an escape at its end that is not complete."""
    at = raw.rfind(b"\\", -5)
    if at < 0:
        return len(raw)
    wanted = 6 if raw[at + 1 : at + 2] == b"u" else 2
    return at if len(raw) - at < wanted else len(raw)


def _unescaped(text: bytes) -> bytes:
    r"""The bytes of a JSON string. Writers may send ``/`` as ``\/`` and ``+`` as ``\u002B``."""
    if b"\\" not in text:
        return text
    try:
        return str(from_json(b'"' + text + b'"')).encode()
    except ValueError as error:
        raise _broken("it is no JSON string") from error


def _broken(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"{_FIELD}.data: not base64 ({why}); send {_HOW}.", param=f"{_FIELD}.data"
    )
