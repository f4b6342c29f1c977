"""Client secrets, and sessions of OpenAI's beta."""

from __future__ import annotations

import random
import string
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus

from reflector_gpu.realtime.client_secrets import ClientSecrets
from reflector_gpu.realtime.configuration import Configuration
from reflector_gpu.types import Samples
from tests.api.conftest import OTHER_KEY
from tests.api.realtime.client import SIXTEEN, Client, silence
from tests.api.support import error_of, eventually
from tests.live import KEY, LiveServer

SECRETS, BETA_SESSIONS = "/v1/realtime/client_secrets", "/v1/realtime/transcription_sessions"


def made(server: LiveServer, path: str = SECRETS, key: str = KEY, **fields: object) -> Any:
    with server.client(key) as client:
        answer = client.post(path, json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_secret_opens_sessions_with_its_settings(scripted: LiveServer) -> None:
    session = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}
    secret = made(scripted, session=session)
    assert secret["value"].startswith("ek_")
    assert secret["expires_at"] == pytest.approx(time.time() + 600, abs=60)
    assert secret["session"]["type"] == "transcription"
    for _ in range(2):  # as often as one likes
        with Client(scripted, key=secret["value"]) as client:
            begun = client.next()["session"]
        assert begun["audio"] == secret["session"]["audio"]
        assert begun["audio"]["input"]["turn_detection"] is None
        assert begun.keys() == secret["session"].keys()


def test_a_page_sends_its_secret_as_a_subprotocol(scripted: LiveServer) -> None:
    secret = made(scripted, expires_after={"anchor": "created_at", "seconds": 10})
    offered = ["realtime", f"openai-insecure-api-key.{secret['value']}"]
    with Client(scripted, key=None, subprotocols=offered) as client:
        assert client.next()["type"] == "session.created"


def test_a_secret_opens_nothing_but_sessions(scripted: LiveServer) -> None:
    secret = made(scripted)["value"]
    with scripted.client(secret) as client:
        assert client.get("/v1/models").status_code == 401
        error_of(client.post(SECRETS, json={}), 401)


def test_a_secret_that_nobody_made_opens_nothing(scripted: LiveServer) -> None:
    with pytest.raises(InvalidStatus):
        Client(scripted, key="ek_made_up")


def test_sessions_count_for_the_client_that_made_the_secret(
    small: LiveServer, snippets: list[Samples]
) -> None:
    secret = made(small, key=OTHER_KEY)["value"]
    account = small.service.admission._used
    before = account["key 0"].seconds
    with Client(small, key=secret, format=SIXTEEN) as client:
        client.speak(snippets[0])
        client.speak(silence(1))
        heard = client.completed()["usage"]["seconds"]
    counted = pytest.approx(before + heard, abs=0.1)
    eventually(lambda: account["key 0"].seconds == counted)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"expires_after": {"seconds": 7201}}, "expires_after"),
        ({"session": {"audio": {"input": {"format": {"type": "mp3"}}}}}, "session.audio"),
        ({"session": {"audio": {"input": {"transcription": {"model": "nonsense"}}}}}, "model"),
        ({"sesion": {}}, "sesion"),
        ({"turn_detection": {}}, "turn_detection"),
    ],
)
def test_bad_fields_of_a_secret_are_named(
    scripted: LiveServer, fields: dict[str, object], param: str
) -> None:
    with scripted.client() as client:
        answer = client.post(SECRETS, json=fields)
    assert answer.status_code in (400, 404)
    assert error_of(answer, answer.status_code)["param"].startswith(param)


def test_a_secret_of_the_beta(scripted: LiveServer) -> None:
    answer = made(
        scripted,
        BETA_SESSIONS,
        input_audio_format="g711_ulaw",
        input_audio_transcription={"model": "whisper-1", "language": "en"},
        turn_detection={"type": "server_vad", "silence_duration_ms": 200},
    )
    assert answer["client_secret"]["value"].startswith("ek_")
    assert answer["input_audio_format"] == "g711_ulaw"
    assert answer["input_audio_transcription"]["language"] == "en"
    assert answer["turn_detection"]["silence_duration_ms"] == 200
    assert answer["input_audio_noise_reduction"] is None
    with Client(scripted, key=answer["client_secret"]["value"]) as client:
        begun = client.next()["session"]["audio"]["input"]
    assert begun["format"] == {"type": "audio/pcmu"}
    assert begun["turn_detection"]["silence_duration_ms"] == 200


def test_a_client_of_the_beta_gets_its_own_names(
    scripted: LiveServer, snippets: list[Samples]
) -> None:
    with Client(scripted, headers={"OpenAI-Beta": "realtime=v1"}) as client:
        assert client.next()["type"] == "transcription_session.created"
        flat = {"input_audio_format": "pcm16", "turn_detection": {"threshold": 0.4}}
        client.send("transcription_session.update", session=flat)
        updated = client.wait_for("transcription_session.updated")["session"]
        assert updated["turn_detection"]["threshold"] == 0.4
        client.send("session.update", session={"audio": {"input": {"format": SIXTEEN}}})
        client.speak(snippets[0])
        client.speak(silence(1))
        client.wait_for("conversation.item.created")
        assert client.completed()["transcript"]
    assert "conversation.item.added" not in client.types()


def test_a_secret_is_valid_for_its_time() -> None:
    now = 1000.0
    known = ClientSecrets(clock=lambda: now)
    secret = known.create("key 0", Configuration(), 10)
    assert secret.expires_at == 1010
    assert known.find(secret.value) == secret
    now = 1010.0
    assert known.find(secret.value) is None


def test_no_two_secrets_are_the_same() -> None:
    known = ClientSecrets(["key"], lambda: 1000.0)
    made = {known.create("key 0", Configuration(), 60).value for _ in range(100)}
    assert len(made) == 100


def test_any_server_with_the_same_keys_knows_it() -> None:
    told = {"audio": {"input": {"turn_detection": None, "transcription": {"language": "de"}}}}
    secret = ClientSecrets(["a", "b"]).create("key 1", Configuration().updated(told), 60, "id")
    assert ClientSecrets(["a", "b"]).find(secret.value) == secret
    for others in (["a"], ["b", "a"], ["ab"], []):
        assert ClientSecrets(others).find(secret.value) is None
    assert ClientSecrets().find(ClientSecrets().create("", Configuration(), 60).value) is None


KNOWN = ClientSecrets(["key"])
VALUE = KNOWN.create("key 0", Configuration(), 3600).value


@given(st.integers(0, len(VALUE) - 1), st.characters(max_codepoint=255))
def test_a_changed_secret_is_refused(place: int, other: str) -> None:
    changed = VALUE[:place] + other + VALUE[place + 1 :]
    assert changed == VALUE or KNOWN.find(changed) is None
    assert KNOWN.find(VALUE[:place]) is None
    assert KNOWN.find(VALUE + other) is None
    assert KNOWN.find(VALUE)


def test_settings_that_no_header_can_carry_are_refused(scripted: LiveServer) -> None:
    noise = "".join(random.Random(1).choices(string.ascii_letters, k=9000))
    session = {"audio": {"input": {"transcription": {"prompt": noise}}}}
    with scripted.client() as client:
        error = error_of(client.post(SECRETS, json={"session": session}), 400)
    assert error["param"] == "session"
    assert "session.update" in error["message"]
