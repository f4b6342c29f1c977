"""Our own readers of bodies and fields, on whatever a client may write, in whatever pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.api.fields import TranscriptionFields
from reflector_gpu.api.form_values import form_values, json_values
from reflector_gpu.api.upload import Form, read_form
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import InvalidRequest, TooLarge

BOUNDARY = b"----piece"
NAMES = st.sampled_from(["model", "prompt", "include[]", "ключ", "a b", "chunking_strategy[type]"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
CONTENTS = st.binary(max_size=100).filter(lambda content: BOUNDARY not in content)


class Spools:
    """Makes spools, and remembers them."""

    def __init__(self) -> None:
        self.made: list[Spool] = []

    def __call__(self) -> Spool:
        self.made.append(Spool(10_000))
        return self.made[-1]


def read(body: bytes, size: int, spools: Spools) -> Form:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]

    content_type = f"multipart/form-data; boundary={BOUNDARY.decode()}"
    return asyncio.run(
        read_form(content_type, pieces(), spool=spools, max_bytes=100_000, max_files=3)
    )


def part(head: str, content: bytes) -> bytes:
    disposition = f"Content-Disposition: form-data; {head}".encode()
    return b"--" + BOUNDARY + b"\r\n" + disposition + b"\r\n\r\n" + content + b"\r\n"


@given(st.lists(st.tuples(NAMES, TEXTS), max_size=4), st.lists(CONTENTS, max_size=3), st.data())
def test_a_form_in_any_pieces(
    fields: list[tuple[str, str]], files: list[bytes], data: st.DataObject
) -> None:
    parts = [part(f'name="{name}"', text.encode()) for name, text in fields]
    parts += [part('name="files"; filename="ä.wav"', content) for content in files]
    body = b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"
    size = data.draw(st.integers(1, len(body)))
    with read(body, size, Spools()) as form:
        assert form.fields == fields
        assert [upload.filename for upload in form.files] == ["ä.wav"] * len(files)
        found = [upload.spool.read_at(0, 1_000) for upload in form.files]
    assert found == files


@given(
    st.lists(
        st.sampled_from([b"--", BOUNDARY, b"\r\n", b"\n", b'name="file"', b"Content-Disposition: "])
        | st.sampled_from([b"form-data; ", b'filename="a', b"\\", b'"', b";", b"\0"])
        | st.binary(max_size=20),
        max_size=20,
    ).map(b"".join),
    st.integers(1, 50),
)
def test_a_broken_form_is_refused_and_leaves_nothing_open(body: bytes, size: int) -> None:
    spools = Spools()
    try:
        with read(b"--" + BOUNDARY + b"\r\n" + body, size, spools):
            pass
    except (InvalidRequest, TooLarge):
        pass
    assert all(spool.closed for spool in spools.made)


@pytest.mark.parametrize("mark", [b"\r\n", b"a: b\r\n", b"x"])
def test_the_head_of_a_part_has_an_end(mark: bytes) -> None:
    with pytest.raises((InvalidRequest, TooLarge)):
        read(b"--" + BOUNDARY + b"\r\n" + b"a: " + mark * 20_000, 1_000, Spools())


BRACKETS = st.sampled_from(["", "[]", "[0]", "[type]", "[", "]", "[][]", "[a][b]"])
KEYS = st.builds(str.__add__, NAMES | TEXTS, BRACKETS)


@given(st.lists(st.tuples(KEYS, TEXTS | st.sampled_from(["[", "[1]", "[[", "[{}]"])), max_size=6))
def test_any_pairs_are_values(pairs: list[tuple[str, str]]) -> None:
    values = form_values(pairs, TranscriptionFields)
    assert len(values) <= len(pairs)
    for name, text in pairs:
        alone = [other for other, _ in pairs if other.startswith(name)] == [name]
        if name in ("model", "prompt") and alone:
            assert values[name] == text


@given(st.binary(max_size=50) | st.sampled_from([b"[" * 10_000, b'{"a":' * 10_000, b"9" * 5_000]))
def test_any_body_is_an_object_or_refused(body: bytes) -> None:
    with suppress(InvalidRequest):
        assert isinstance(json_values(body), dict)
