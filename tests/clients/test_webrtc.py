"""WebRTC as a web page uses it: RTCPeerConnection in Chromium, with a microphone."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.browser import MICROPHONE, chromium, page_of
from tests.clients.server import KEY, Server
from tests.clients.support import ENGLISH, pcm_of, text_of
from tests.waiting import PATIENCE_SECONDS

CALL = """async ([key, session, sentence, seconds]) => {
  const late = new Promise((_, reject) => setTimeout(reject, 1000 * seconds, Error("too late")));
  const peer = new RTCPeerConnection();
  const plain = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  const microphone = await navigator.mediaDevices.getUserMedia({audio: plain});
  peer.addTrack(microphone.getTracks()[0]);
  const channel = peer.createDataChannel("oai-events");
  const events = [];
  const completed = new Promise((resolve) => {
    channel.onmessage = (message) => {
      const event = JSON.parse(message.data);
      events.push(event);
      if (event.transcript === sentence || event.type === "error") resolve(event);
    };
  });
  await peer.setLocalDescription();
  const form = new FormData();
  form.set("sdp", peer.localDescription.sdp);
  form.set("session", new Blob([JSON.stringify(session)], {type: "application/json"}));
  const headers = {Authorization: `Bearer ${key}`};
  const answered = await fetch("/v1/realtime/calls", {method: "POST", body: form, headers});
  const sdp = await answered.text();
  if (answered.status !== 201) throw new Error(sdp);
  await peer.setRemoteDescription({type: "answer", sdp});
  const last = await Promise.race([completed, late]);
  const closed = new Promise((resolve) => { channel.onclose = resolve; });
  const location = answered.headers.get("Location");
  const ended = await fetch(`${location}/hangup`, {method: "POST", headers});
  await Promise.race([closed, late]);
  peer.close();
  return {events, last, ended: ended.status};
}"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A browser whose microphone hears a sentence again and again, with silence around it."""
    spoken, rate = pcm_of(ENGLISH)
    with wave.open(str(tmp_path / "spoken.wav"), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(bytes(2 * 2 * rate) + spoken + bytes(2 * 2 * rate))
    with chromium(
        *MICROPHONE, f"--use-file-for-fake-audio-capture={tmp_path / 'spoken.wav'}"
    ) as browser:
        yield browser


def test_a_page_hears_what_its_microphone_hears(browser: Any, server: Server) -> None:
    session = {
        "type": "transcription",
        "audio": {"input": {"transcription": {"model": "parakeet", "language": "en"}}},
    }
    with page_of(browser, server.url) as page:
        heard = page.evaluate(CALL, [KEY, session, text_of(ENGLISH), PATIENCE_SECONDS])
    types = [event["type"] for event in heard["events"]]
    assert types[0] == "session.created"
    assert heard["last"].get("transcript") == text_of(ENGLISH), heard["last"]
    assert "input_audio_buffer.speech_started" in types
    assert heard["ended"] == 200
