"""The ways on which a recording gets into the server."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from fuzz.media import Media, flac
from tests.api.hosts import Answer, AudioHost

TRANSCRIPTIONS = "/v1/audio/transcriptions"
FROM_URL = "/v1/audio/transcriptions-from-url"

HANGS_SECONDS = 60.0
"""An answer that takes longer never comes."""

NO_ANSWER = 0
"""The status where the connection broke, or nothing came."""

_MEETING = flac.constant(32)
"""What the voices of speakers are looked for in."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file that was sent in one way."""

    name: str
    way: str
    status: int
    seconds: float
    said: str

    @property
    def good(self) -> bool:
        """Whether the server answered, and did not blame itself."""
        return 200 <= self.status < 500

    def __str__(self) -> str:
        return f"{self.status} after {self.seconds:.1f} s by {self.way}: {self.name}: {self.said}"


class Sender:
    """Sends recordings to a server, some of them from a host beside it. Thread-safe."""

    def __init__(self, client: httpx.Client, host: AudioHost) -> None:
        self._client = client
        self._host = host
        self.ways: Mapping[str, Callable[[bytes], httpx.Response]] = {
            "upload": self._upload,
            "URL": self._url,
            "base64": self._base64,
            "voice": self._voice,
            "diarization": self._diarization,
            "padding": self._padding,
        }

    def send(self, media: Media, way: str) -> Outcome:
        began = time.monotonic()
        try:
            response = self.ways[way](media.data)
            status, said = response.status_code, response.text[:200]
        except httpx.HTTPError as error:
            status, said = NO_ANSWER, repr(error)
        return Outcome(media.name, way, status, time.monotonic() - began, said)

    def _upload(self, data: bytes) -> httpx.Response:
        return self._client.post(TRANSCRIPTIONS, files={"file": ("recording", data)})

    def _url(self, data: bytes) -> httpx.Response:
        url = self._host.put(f"/{threading.get_ident()}", Answer(data))
        return self._client.post(FROM_URL, json={"audio_file_url": url})

    def _base64(self, data: bytes) -> httpx.Response:
        audio = {"data": base64.b64encode(data).decode(), "format": "wav"}
        return self._client.post(TRANSCRIPTIONS, json={"input_audio": audio})

    def _diarization(self, data: bytes) -> httpx.Response:
        return self._client.post("/diarize", files={"file": ("recording", data)})

    def _padding(self, data: bytes) -> httpx.Response:
        url = self._host.put(f"/{threading.get_ident()}", Answer(data))
        urls = {"track_url": url, "output_url": self._host.url}
        return self._client.post("/pad", json={**urls, "start_time_seconds": 1.0})

    def _voice(self, data: bytes) -> httpx.Response:
        voice = f"data:audio/wav;base64,{base64.b64encode(data).decode()}"
        fields = {
            "response_format": "diarized_json",
            "known_speaker_names[]": "Anna",
            "known_speaker_references[]": voice,
        }
        return self._client.post(
            TRANSCRIPTIONS, files={"file": ("meeting.flac", _MEETING)}, data=fields
        )
