"""Which of a file's audio tracks is heard."""

from __future__ import annotations

import numpy as np
import pytest

from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.tracks import TrackWish, chosen
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.types import SAMPLE_RATE, Condition, Samples, Track
from tests.audio.media import Form, Heard, encode, likeness, with_tracks

FORMS = [("matroska", "libopus"), ("mp4", "aac"), ("mpegts", "mp2")]
CODES = ("eng", "ger", "fra")


@pytest.fixture(scope="module")
def voices(speech: Samples) -> list[Samples]:
    """Three stretches of two seconds, all different."""
    return [speech[n * SAMPLE_RATE : (n + 2) * SAMPLE_RATE] for n in (1, 4, 7)]


def heard(data: bytes, wish: TrackWish, voices: list[Samples]) -> tuple[int, Condition]:
    """Which of ``voices`` comes out, and what was noticed."""
    noticed: list[Condition] = []
    with Spool(limit=10**9) as spool:
        spool.write(data)
        spool.finish()
        blocks = list(decode(spool.reader(), track=wish, notice=noticed.append))
    found = np.concatenate(blocks)
    return max(range(len(voices)), key=lambda n: likeness(found, voices[n])[1]), noticed[0]


@pytest.mark.parametrize(("muxer", "codec"), FORMS)
@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (TrackWish("0"), 0),
        (TrackWish("2"), 2),
        (TrackWish("ger"), 1),
        (TrackWish("de"), 1),
        (TrackWish("French"), 2),
        (TrackWish("fr-CA"), 2),
        (TrackWish("1", "fr"), 1),
        (TrackWish(None, "fr"), 2),
        (TrackWish(None, "German"), 1),
    ],
)
def test_a_track_is_picked(
    muxer: str, codec: str, wish: TrackWish, expected: int, voices: list[Samples]
) -> None:
    tracks = [Heard(samples, code) for samples, code in zip(voices, CODES, strict=True)]
    taken, condition = heard(with_tracks(muxer, codec, *tracks), wish, voices)
    assert taken == expected
    assert condition == Condition()


@pytest.mark.parametrize(("muxer", "codec"), FORMS)
@pytest.mark.parametrize("wish", [TrackWish(), TrackWish(None, "es")])
def test_where_nothing_picks_one_the_first_is_taken_and_told(
    muxer: str, codec: str, wish: TrackWish, voices: list[Samples]
) -> None:
    tracks = [Heard(samples, code) for samples, code in zip(voices, CODES, strict=True)]
    taken, condition = heard(with_tracks(muxer, codec, *tracks), wish, voices)
    assert taken == 0
    assert condition.taken == Track(0, "eng")
    assert [track.number for track in condition.left] == [1, 2]


def test_the_default_comes_before_the_first(voices: list[Samples]) -> None:
    tracks = Heard(voices[0], "eng", "Commentary"), Heard(voices[1], "eng", default=True)
    data = with_tracks("matroska", "libopus", *tracks)
    for wish in (TrackWish(), TrackWish(None, "en")):
        taken, condition = heard(data, wish, voices)
        assert taken == 1
        assert condition.left == (Track(0, "eng", "Commentary"),)


def test_a_file_with_one_track_has_nothing_to_tell(voices: list[Samples]) -> None:
    for form in (Form("wav", "pcm_s16le"), Form("webm", "libopus", 48_000)):
        assert heard(encode(voices[0], form), TrackWish(None, "fr"), voices)[1] == Condition()


@pytest.mark.parametrize("wanted", ["2", "fr", "Commentary", "-1"])
def test_a_track_that_is_not_there_is_refused_with_those_that_are(
    wanted: str, voices: list[Samples]
) -> None:
    tracks = Heard(voices[0], "eng"), Heard(voices[1], title="Commentary")
    with pytest.raises(InvalidRequest, match=r"0 \(eng\); 1 \(no language, 'Commentary'\)") as no:
        heard(with_tracks("matroska", "libopus", *tracks), TrackWish(wanted), voices)
    assert no.value.param == "track"


def test_a_plain_wav_file_has_track_0(voices: list[Samples]) -> None:
    data = encode(voices[0], Form("wav", "pcm_s16le", muxing={"fflags": "bitexact"}))
    assert heard(data, TrackWish("0"), voices)[0] == 0
    with pytest.raises(InvalidRequest, match="no audio track '1'"):
        heard(data, TrackWish("1"), voices)


def test_a_language_that_only_one_track_has_is_enough() -> None:
    tracks = Track(0, "eng"), Track(1, "eng"), Track(2, "deu")
    assert chosen(tracks, TrackWish(None, "de")).taken.number == 2
    assert chosen(tracks, TrackWish("en"), default=1).taken.number == 1
    assert chosen(tracks, TrackWish(None, "en"), default=1).left == (tracks[0], tracks[2])
