"""The descriptions (SDP) that peers and this server send each other, as text."""

from __future__ import annotations

import re
from ipaddress import ip_address

from reflector_gpu.errors import InvalidRequest

_MOST_LINES = 2000
_MEDIA = re.compile(r"m=(?P<kind>\S+) \d+ \S+ (?P<formats>.+)")
_OPUS = re.compile(r"a=rtpmap:\d+ opus/48000/2", re.IGNORECASE)
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_CANDIDATE = re.compile(
    r"(?P<before>a=candidate:\S+ \d+ \S+ \d+) (?P<address>\S+) (?P<after>\d+ typ host.*)"
)


def checked_offer(offer: str) -> str:
    """The ``offer``, without the addresses that it names.

    We send to no address because an offer names it. A peer's checks of the connection show where it
    is, and that it knows the password in our answer.

    Raises:
        InvalidRequest: it is not for one track of audio in Opus and a data channel.
    """
    lines = [line.strip() for line in offer.strip().splitlines()]
    if len(lines) > _MOST_LINES:
        raise _refusal(f"it has more than {_MOST_LINES} lines")
    if not lines or lines[0] != "v=0":
        raise _refusal("it does not begin with 'v=0'")
    sections = _sections(lines)
    kinds = sorted(_kind(section) for section in sections[1:])
    if kinds != ["application", "audio"]:
        told = ", ".join(kinds) or "nothing"
        raise _refusal(f"it has {told}, and needs one track of audio and one data channel")
    for number, section in enumerate(sections[1:], 1):
        if _kind(section) == "audio":
            sections[number] = _checked_audio(section)
        elif "webrtc-datachannel" not in section[0]:
            raise _refusal("its data channel is not a 'webrtc-datachannel'")
    kept = [line for section in sections for line in section if not _names_an_address(line)]
    return "\r\n".join(kept) + "\r\n"


def with_address(answer: str, address: str) -> str:
    """The ``answer`` with ``address`` in place of the machine's own, where it has one of that kind.

    It is the address under which others reach a machine that does not know it itself.
    """
    version = ip_address(address).version
    lines: list[str] = []
    for line in answer.splitlines():
        if found := _CANDIDATE.fullmatch(line):
            if ip_address(found["address"]).version == version:
                lines.append(f"{found['before']} {address} {found['after']}")
        elif line.startswith("c=IN IP"):
            lines.append(f"c=IN IP{version} {address}")
        else:
            lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def _sections(lines: list[str]) -> list[list[str]]:
    """The lines about the session, and those about each of its media."""
    sections: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    return sections


def _kind(section: list[str]) -> str:
    found = _MEDIA.fullmatch(section[0])
    if not found:
        raise _refusal("a line that begins with 'm=' is broken")
    return found["kind"][:20]


def _checked_audio(section: list[str]) -> list[str]:
    if not any(map(_OPUS.fullmatch, section)):
        raise _refusal("its audio is not in Opus")
    directions = [line[2:] for line in section if line[2:] in _DIRECTIONS]
    if not directions:
        return [*section, "a=sendrecv"]  # as RFC 3264 has it
    if directions[0] not in ("sendrecv", "sendonly"):
        raise _refusal(f"its audio is '{directions[0]}', so that there would be nothing to hear")
    return section


def _names_an_address(line: str) -> bool:
    return line.startswith(("a=candidate:", "a=end-of-candidates", "a=remote-candidates:"))


def _refusal(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"The SDP offer cannot be used: {why}. Send that of an RTCPeerConnection with an audio "
        "track and the data channel 'oai-events'.",
        param="sdp",
    )
