"""``multipart/form-data``, parsed as it arrives. Files go straight to disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic_core import from_json
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import InvalidRequest, TooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FILE_FIELDS = ("file", "files")
"""Names of the parts that are files. Each may end in ``[]``."""

_MAX_FIELD_BYTES = 16_000_000  # known speaker references are audio in data URLs
_MAX_FIELDS = 1000


@dataclass(frozen=True, slots=True)
class Upload:
    """One file: the client's name for it, and its bytes."""

    filename: str
    spool: Spool


@dataclass(slots=True)
class Form:
    """What a client uploaded: text ``fields``, or ``values`` from JSON, and files.

    As a context manager, it frees its files.
    """

    fields: list[tuple[str, str]] = field(default_factory=list)
    values: dict[str, object] = field(default_factory=dict)
    files: list[Upload] = field(default_factory=list)

    def __enter__(self) -> Form:
        return self

    def __exit__(self, *_: object) -> None:
        for upload in self.files:
            upload.spool.close()


async def read_form(
    content_type: str,
    body: AsyncIterator[bytes],
    *,
    spool: Callable[[], Spool],
    max_bytes: int,
    max_files: int,
    file_fields: Sequence[str] = FILE_FIELDS,
) -> Form:
    """Parse a form from ``body``. If that fails, nothing stays on disk.

    Parts of the names ``file_fields`` are files.

    Raises:
        InvalidRequest: it is not a form, or is broken.
        TooLarge: more than ``max_bytes`` in all, or more than ``max_files`` files.
    """
    kind, parameters = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not parameters.get(b"boundary"):
        raise InvalidRequest(
            f"Send the audio as multipart/form-data, in a field named '{file_fields[0]}', or as "
            "the body with its Content-Type, such as audio/wav."
        )
    reader = _Reader(spool, max_files, file_fields)
    received = 0
    with ExitStack() as cleanup:
        cleanup.push(reader.form)
        try:
            parser = MultipartParser(parameters[b"boundary"], reader.callbacks())
            async for data in body:
                received += len(data)
                if received > max_bytes:
                    raise TooLarge(
                        f"The request is larger than this server's limit of {max_bytes} bytes.",
                        param="file",
                    )
                parser.write(data)
        except FormParserError as error:
            raise InvalidRequest("The multipart form cannot be parsed.") from error
        if not reader.ended:
            raise InvalidRequest("The multipart form ends before its closing boundary.")
        cleanup.pop_all()
    return reader.form


class _Reader:
    """The parser's callbacks: a part becomes a field in memory, or a file in a spool."""

    def __init__(
        self, spool: Callable[[], Spool], max_files: int, file_fields: Sequence[str]
    ) -> None:
        self.form = Form()
        self.ended = False
        self._spool = spool
        self._max_files = max_files
        self._file_fields = file_fields
        self._field_bytes = 0
        self._name = ""
        self._value = bytearray()
        self._file: Upload | None = None
        self._unnamed = False
        self._is_json = False
        self._headers: dict[bytes, bytes] = {}
        self._header, self._header_value = bytearray(), bytearray()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._headers.clear,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _on_header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._header_value)
        self._header.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"").decode("utf-8", "replace")
        # The parser works on bytes in latin-1 order, so names pass through undamaged.
        _, options = parse_options_header(disposition.encode().decode("latin-1"))
        self._name = _text(options.get(b"name", b""))
        self._value.clear()
        self._file = None
        kind, _, _ = self._headers.get(b"content-type", b"").partition(b";")
        self._is_json = kind.strip().lower() == b"application/json"
        is_file = self._name.removesuffix("[]") in self._file_fields
        if is_file or (b"filename" in options and not self._is_json):  # browsers name JSON "blob"
            if not is_file:
                raise InvalidRequest(
                    f"The file part is named '{self._name}'; name it '{self._file_fields[0]}'. "
                    "Voices of speakers are texts: 'data:audio/wav;base64,...'.",
                    param=self._name,
                )
            if len(self.form.files) >= self._max_files:
                raise TooLarge(
                    f"At most {self._max_files} files fit into one request.", param="files"
                )
            # Browsers and httpx write a quotation mark so (WHATWG HTML, multipart form data).
            name = _text(options.get(b"filename", b"")).replace("%22", '"')
            self._unnamed = not name
            self._file = Upload(name or "audio", self._spool())
            self.form.files.append(self._file)
        elif len(self.form.fields) >= _MAX_FIELDS:
            raise InvalidRequest(f"The form has more than {_MAX_FIELDS} fields.")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.spool.write(data[start:end])
            return
        self._field_bytes += end - start
        if self._field_bytes > _MAX_FIELD_BYTES:
            raise TooLarge("The form's text fields are too large.", param=self._name)
        self._value.extend(data[start:end])

    def _on_part_end(self) -> None:
        if self._file is not None:
            self._file.spool.finish()
            if (
                self._unnamed and not self._file.spool.size
            ):  # a browser sends this for an input without a file
                self.form.files.pop().spool.close()
        else:
            text = _text(bytes(self._value))
            self.form.fields.append((self._name, _unquoted(text) if self._is_json else text))

    def _on_end(self) -> None:
        self.ended = True


def _unquoted(text: str) -> str:
    """The text of a JSON string. Objects and lists stay JSON, for the fields to read."""
    try:
        sent: object = from_json(text)
    except ValueError:
        return text
    return sent if isinstance(sent, str) else "" if sent is None else text


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
