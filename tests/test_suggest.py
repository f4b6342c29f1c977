"""Which name was probably meant."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.settings import Settings
from reflector_gpu.suggest import suggestion

KNOWN = sorted(Settings.model_fields)

LONG_ENOUGH = [name for name in KNOWN if len(name.replace("_", "")) >= 4]


@st.composite
def misspelled(draw: st.DrawFn) -> tuple[str, str]:
    """A name, and the same with one mistake."""
    name = draw(st.sampled_from(LONG_ENOUGH))
    at = draw(st.integers(0, len(name) - 1))
    letter = draw(st.sampled_from(string.ascii_lowercase))
    wrong = draw(
        st.sampled_from(
            [
                name[:at] + name[at + 1 :],
                name[:at] + letter + name[at:],
                name[:at] + letter + name[at + 1 :],
                name[:at] + name[at : at + 2][::-1] + name[at + 2 :],
            ]
        )
    )
    return name, wrong


@given(misspelled())
def test_one_mistake_still_leads_to_the_name(case: tuple[str, str]) -> None:
    name, wrong = case
    assert suggestion(wrong, [name]) == name
    assert suggestion(wrong, KNOWN) is not None


@pytest.mark.parametrize("name", KNOWN)
def test_a_name_is_nearest_to_itself(name: str) -> None:
    assert suggestion(name, KNOWN) == name


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("respones_format", "response_format"),
        ("responseFormat", "response_format"),
        ("RESPONSE-FORMAT", "response_format"),
        ("timestamp_granularity", "timestamp_granularities"),
        ("max_speaker", "max_speakers"),
        ("n_speakers", "num_speakers"),
        ("temprature", "temperature"),
        ("temperature_inc", None),
        ("word_timestamps", None),
        ("n", None),
        ("m", None),
        ("nn", None),
        ("", None),
        ("___", None),
        ("é", None),
        ("response_format" * 100_000, None),
    ],
)
def test_how_far_a_suggestion_reaches(sent: str, meant: str | None) -> None:
    known = [
        "response_format",
        "timestamp_granularities",
        "min_speakers",
        "max_speakers",
        "num_speakers",
        "temperature",
        "mn",
    ]
    assert suggestion(sent, known) == meant


@pytest.mark.parametrize(("letters", "mistakes"), [(4, 1), (9, 1), (10, 2), (15, 2), (16, 3)])
def test_longer_names_may_have_more_mistakes(letters: int, mistakes: int) -> None:
    name = "abcdefghijklmnop"[:letters]
    assert suggestion(name[:-mistakes] + "z" * mistakes, [name]) == name
    assert suggestion(name[: -mistakes - 1] + "z" * (mistakes + 1), [name]) is None
