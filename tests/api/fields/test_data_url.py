"""Data URLs as people and their tools write them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.api.data_url import data_of
from reflector_gpu.errors import InvalidRequest

SPACES = st.text(" \t\r\n", max_size=3)


@given(st.binary(max_size=200), st.lists(SPACES, min_size=5, max_size=5), st.data())
def test_white_space_does_not_count(content: bytes, spaces: list[str], data: st.DataObject) -> None:
    encoded = base64.b64encode(content).decode()
    cut = data.draw(st.integers(0, len(encoded)))
    before, kind, mark, inside, after = spaces
    url = (
        f"{before}data:{kind}audio/wav;{mark}base64{mark},"
        f"{inside}{encoded[:cut]}{inside}{encoded[cut:]}{after}"
    )
    assert data_of(url, "voice") == content


def test_lines_of_base64_and_escaped_ones() -> None:
    content = bytes(range(256))
    lines = base64.encodebytes(content).decode()
    assert data_of(f"data:;base64,{lines}", "voice") == content
    assert data_of(f"data:;base64,{lines}".replace("\n", "%0A"), "voice") == content


def test_what_is_not_base64_is_kept_as_it_is() -> None:
    assert data_of("data:,a%20 b", "voice") == b"a  b"


@pytest.mark.parametrize(
    "url", ["", "audio.wav", "data:audio/wav", "data:;base64,?", "data:;base64,a"]
)
def test_what_is_not_a_data_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="voice: "):
        data_of(url, "voice")
