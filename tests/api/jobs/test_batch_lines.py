"""How the file of a batch is read."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.api import batch_lines
from reflector_gpu.api.batch_lines import count_lines, lines_of
from reflector_gpu.errors import InvalidRequest

URL = "/v1/chat/completions"


def written(*names: str) -> bytes:
    lines = [{"custom_id": name, "url": URL, "body": {"n": name}} for name in names]
    return b"\n".join(json.dumps(line).encode() for line in lines)


@given(
    names=st.lists(st.text(max_size=8), min_size=1, max_size=8, unique=True),
    ending=st.sampled_from([b"", b"\n", b"\r\n", b"\n\n \n"]),
    piece=st.integers(1, 50),
)
def test_lines_are_the_same_however_they_are_cut(
    names: list[str], ending: bytes, piece: int
) -> None:
    content = written(*names) + ending

    file = io.BytesIO(content)
    found = lines_of(lambda _: file.read(piece), URL)
    assert [line.custom_id for line in found] == names
    assert count_lines(io.BytesIO(content).read, URL) == len(names)


def test_there_is_a_limit_to_lines_and_to_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_lines, "_MOST", 2)
    with pytest.raises(InvalidRequest, match="1 to 2 lines"):
        count_lines(io.BytesIO(written("a", "b", "c")).read, URL)
    monkeypatch.setattr(batch_lines, "_LONGEST", 20)
    with pytest.raises(InvalidRequest, match="audio_file_url"):
        count_lines(io.BytesIO(written("a")).read, URL)
