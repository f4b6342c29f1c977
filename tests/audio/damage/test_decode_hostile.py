"""Files that are made to reach elsewhere, to crash, or to keep the decoder busy."""

from __future__ import annotations

import ctypes
import functools
import io
import os
import random
import socket
import struct
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from reflector_gpu.errors import UndecodableAudio
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.audio.media import Form, decoded, encode, streamed

IN_OPEN = 0x20


class Tripwire:
    """Notices when a file is opened, by whatever code in whatever process."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(os.O_NONBLOCK)
        if libc.inotify_add_watch(self._events, os.fsencode(path), IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def tripped(self) -> bool:
        try:
            return bool(os.read(self._events, 4096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._events)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A recording on the server that no client should get at."""
    path = tmp_path / "secret.wav"
    path.write_bytes(encode(np.zeros(SAMPLE_RATE, np.float32), Form("wav", "pcm_s16le")))
    return path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A host inside that no client should reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n"
ATTACKS = {
    "HLS": HLS,
    "HLS master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n",
    "HLS key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:1,\n{url}\n',
    "HLS map": '#EXTM3U\n#EXT-X-MAP:URI="{url}"\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n',
    "HLS concat": "#EXTM3U\n#EXTINF:1,\nconcat:{url}|{url}\n#EXT-X-ENDLIST\n",
    "HLS crypto": "#EXTM3U\n#EXTINF:1,\ncrypto:{url}\n#EXT-X-ENDLIST\n",
    "HLS subfile": "#EXTM3U\n#EXTINF:1,\nsubfile,,start,0,end,64,,:{url}\n#EXT-X-ENDLIST\n",
    "HLS in an ID3 tag": "ID3\x03\0\0\0\0\0\0" + HLS,
    "HLS and more": HLS + "\0" * 70_000,
    "concat": "ffconcat version 1.0\nfile '{url}'\nduration 1\n",
    "concat without its head": "file '{url}'\n",
    "DASH": (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
        ' mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="audio/mp4">'
        '<Representation id="1" bandwidth="1"><BaseURL>{url}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    ),
    "ASX": '<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
    "reference file": "[Reference]\nRef1={url}\n",
    "SMIL": '<smil><body><audio src="{url}"/></body></smil>',
    "image sequence": "{url}",
}
SDP = b"""v=0
o=- 0 0 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio 5004 RTP/AVP 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="watches files with inotify")
@pytest.mark.parametrize(
    "url", ["{path}", "file:{path}", "file://{path}", "file://localhost{path}", "{name}"]
)
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_other_file_is_opened(
    attack: str, url: str, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(secret.parent)
    data = ATTACKS[attack].format(url=url.format(path=secret, name=secret.name)).encode()
    wire = Tripwire(secret)
    try:
        for read in (decoded, streamed):
            with pytest.raises(UndecodableAudio):
                read(data)
        assert not wire.tripped()
        secret.read_bytes()
        assert wire.tripped()  # it works
    finally:
        wire.close()


@pytest.mark.parametrize("scheme", ["http", "tcp", "rtsp", "cache:http"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_host_is_called(attack: str, scheme: str, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    data = ATTACKS[attack].format(url=f"{scheme}://127.0.0.1:{port}/a.wav").encode()
    for read in (decoded, streamed):
        with pytest.raises(UndecodableAudio):
            read(data)
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("read", [decoded, streamed])
def test_no_session_is_joined(read: Callable[[bytes], Samples]) -> None:
    """An SDP file asks for a port to be opened and listened at."""
    with pytest.raises(UndecodableAudio):
        read(SDP)


FORMS = {
    "mp3": Form("mp3", "libmp3lame", 44_100),
    "mp4": Form("mp4", "aac", 44_100, video="mpeg4"),
    "mp4 in fragments": Form("mp4", "aac", 44_100, muxing={"movflags": "empty_moov+frag_keyframe"}),
    "webm": Form("webm", "libopus", 48_000, "stereo"),
    "ogg": Form("ogg", "libopus", 48_000),
    "flac": Form("flac", "flac", 16_000),
    "aac": Form("adts", "aac", 44_100),
    "wav": Form("wav", "pcm_s24le", 44_100, "5.1"),
    "avi": Form("avi", "mp2", 44_100, video="mpeg4"),
    "mpegts": Form("mpegts", "aac", 44_100),
    "mpeg": Form("mpeg", "mp2", 44_100),
}


def _changed(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.randrange(1, 100)):
        data[dice.randrange(len(data))] = dice.randrange(256)


def _changed_head(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.randrange(1, 20)):
        data[dice.randrange(min(600, len(data)))] = dice.randrange(256)


def _cut_out(data: bytearray, dice: random.Random) -> None:
    first = dice.randrange(len(data))
    del data[first : first + dice.randrange(5_000)]


def _put_in(data: bytearray, dice: random.Random) -> None:
    first = dice.randrange(len(data))
    data[first:first] = dice.randbytes(2_000)


@pytest.fixture(scope="module")
def encoded(speech: Samples) -> Callable[[str], bytes]:
    return functools.cache(lambda name: encode(speech[: 2 * SAMPLE_RATE], FORMS[name]))


@pytest.mark.parametrize("damage", [_changed, _changed_head, _cut_out, _put_in])
@pytest.mark.parametrize("name", FORMS)
def test_damage_gives_sound_samples_or_a_refusal(
    name: str,
    damage: Callable[[bytearray, random.Random], None],
    encoded: Callable[[str], bytes],
) -> None:
    for seed in range(4):
        data = bytearray(encoded(name))
        damage(data, random.Random(seed))
        read = (decoded, streamed)[seed % 2]
        try:
            found = read(bytes(data), max_seconds=3600)
        except UndecodableAudio:
            continue
        assert np.isfinite(found).all()
        assert np.abs(found).max() <= 1


def test_a_track_that_appears_midway(speech: Samples) -> None:
    """Broadcasts change their programme: sound alone first, then a picture beside it."""
    clip = speech[: 2 * SAMPLE_RATE]
    alone = encode(clip, Form("mpegts", "mp2", 44_100))
    beside = encode(clip, Form("mpegts", "mp2", 44_100, video="mpeg4"), lambda t: t + 2)
    for read in (decoded, streamed):
        assert len(read(alone + beside)) / SAMPLE_RATE > 1.9


def test_a_track_of_data_behind_the_sound(speech: Samples) -> None:
    """As cameras write places and times. PyAV ends it with a packet that looks like the sound's."""
    film = encode(speech[: 2 * SAMPLE_RATE], Form("mov", "aac", 44_100, video="mpeg4"))
    data = film.replace(b"vide", b"tmcd").replace(b"mp4v", b"tmcd")
    with av.open(io.BytesIO(data)) as container:
        assert [stream.type for stream in container.streams] == ["audio", "data"]
    for read in (decoded, streamed):
        assert len(read(data)) / SAMPLE_RATE > 1.9


def of_rate(rate: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(bytes(4_000))
    return file.getvalue()


@pytest.mark.parametrize("rate", [8, 100_000_000])
def test_a_rate_that_would_make_gigabytes_of_a_few_bytes_or_gather_them_is_refused(
    rate: int,
) -> None:
    with pytest.raises(UndecodableAudio, match=f"{rate} samples a second"):
        decoded(of_rate(rate))


@pytest.mark.parametrize("labels", [(2, 1), (1, 1, 2, 2, 3), (3,), (1, 2)])
def test_channels_in_an_order_of_their_own(labels: Sequence[int]) -> None:
    """Copies of such a layout, which lies on the heap, are freed once each by PyAV from 17.1 on."""
    channels, seconds = len(labels), 3
    audio = np.full((seconds * 44_100, channels), 0.5 * 2**15, ">i2")

    def part(name: bytes, data: bytes) -> bytes:
        return name + struct.pack(">q", len(data)) + data

    lpcm = struct.pack(">d4sIIIII", 44_100, b"lpcm", 0, 2 * channels, 1, channels, 16)
    order = [struct.pack(">IIfff", label, 0, 0, 0, 0) for label in labels]
    caf = (
        b"caff\0\1\0\0"  # Apple's Core Audio Format, version 1
        + part(b"desc", lpcm)
        + part(b"chan", struct.pack(">III", 0, 0, channels) + b"".join(order))
        + part(b"data", bytes(4) + audio.tobytes())
    )
    for read in (decoded, streamed):
        found = read(caf)
        assert len(found) == seconds * SAMPLE_RATE
        assert np.median(np.abs(found)) > 0.1


@pytest.mark.parametrize("tag", [121, 122, 123, 124])
def test_surround_sound_in_one_of_apples_orders(tag: int) -> None:
    """The four of MPEG 5.1 that QuickTime writes; the first is FFmpeg's own."""
    mov = bytearray(
        encode(np.zeros(SAMPLE_RATE, np.float32), Form("mov", "pcm_s16le", 48_000, "5.1"))
    )
    at = mov.index(b"chan") + 8
    mov[at : at + 4] = struct.pack(">I", tag << 16 | 6)
    for read in (decoded, streamed):
        assert len(read(bytes(mov))) == SAMPLE_RATE
