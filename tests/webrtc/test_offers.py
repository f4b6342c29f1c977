"""Offers and answers as text."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.errors import InvalidRequest
from reflector_gpu.webrtc.offers import checked_offer, with_address

AUDIO = [
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 0",
    "a=sendonly",
    "a=rtpmap:111 opus/48000/2",
    "a=rtpmap:0 PCMU/8000",
]
CHANNEL = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000"]
HOSTS = [
    "a=candidate:1 1 udp 2130706431 169.254.169.254 80 typ host",
    "a=candidate:2 1 udp 2130706431 9d2f.local 51000 typ host generation 0",
    "a=end-of-candidates",
]


def offer(*lines: str) -> str:
    return "\r\n".join(["v=0", "t=0 0", *lines, ""])


def test_addresses_are_left_out() -> None:
    plain = offer(*AUDIO, *CHANNEL)
    assert checked_offer(offer(*AUDIO, *HOSTS, *CHANNEL, *HOSTS)) == plain
    assert checked_offer(plain) == plain
    assert checked_offer(plain.replace("\r\n", "\n")) == plain


def test_the_order_of_the_media_does_not_matter() -> None:
    assert checked_offer(offer(*CHANNEL, *AUDIO)) == offer(*CHANNEL, *AUDIO)


def test_audio_without_a_direction_goes_both_ways() -> None:
    silent = [line for line in AUDIO if line != "a=sendonly"]
    assert checked_offer(offer(*silent, *CHANNEL)) == offer(*silent, "a=sendrecv", *CHANNEL)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ((), "it has nothing"),
        (AUDIO, "it has audio,"),
        (CHANNEL, "it has application,"),
        ((*AUDIO, *AUDIO, *CHANNEL), "application, audio, audio"),
        ((*AUDIO, *CHANNEL, "m=video 9 UDP/TLS/RTP/SAVPF 96"), "application, audio, video"),
        ((*AUDIO, "m=application 9 UDP/BFCP *"), "webrtc-datachannel"),
        ((*AUDIO[:1], *CHANNEL), "Opus"),
        ((AUDIO[0], "a=inactive", AUDIO[2], *CHANNEL), "inactive"),
        (("m=",), "broken"),
        (["a=x"] * 3000, "more than 2000 lines"),
    ],
)
def test_what_is_wrong_is_said(lines: list[str], told: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        checked_offer(offer(*lines))
    assert told in caught.value.message
    assert "oai-events" in caught.value.message
    assert caught.value.param == "sdp"


@given(
    st.lists(st.one_of(st.sampled_from([*AUDIO, *CHANNEL, *HOSTS, "v=0"]), st.text(max_size=20)))
)
def test_no_address_passes_whatever_is_offered(lines: list[str]) -> None:
    with suppress(InvalidRequest):
        assert "candidate" not in checked_offer("\n".join(["v=0", *lines]))


def test_an_answer_names_the_address_that_the_operator_tells() -> None:
    answer = [
        "m=audio 47500 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 172.17.0.2",
        "a=candidate:f9 1 udp 2130706431 172.17.0.2 47500 typ host",
        "a=candidate:d0 1 udp 2130706431 fd00::2 60189 typ host",
        "a=ice-ufrag:nkTS",
    ]
    assert with_address("\r\n".join([*answer, ""]), "198.51.100.7").splitlines() == [
        "m=audio 47500 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 198.51.100.7",
        "a=candidate:f9 1 udp 2130706431 198.51.100.7 47500 typ host",
        "a=ice-ufrag:nkTS",
    ]
    assert "2001:db8::7 60189 typ host" in with_address("\r\n".join(answer), "2001:db8::7")
