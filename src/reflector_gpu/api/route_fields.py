"""The fields that each route accepts, and advice about those that belong to other routes."""

from __future__ import annotations

from reflector_gpu.api.accepted_fields import AcceptedFields
from reflector_gpu.api.asr_fields import AsrFields, DetectFields
from reflector_gpu.api.completion_fields import ChatFields, LlmFields
from reflector_gpu.api.fields import (
    AudioDiarizeFields,
    DiarizeFields,
    FromUrl,
    SpeakerFields,
    TranscriptionFields,
    TranslateFields,
)
from reflector_gpu.api.padding_fields import PadFields
from reflector_gpu.api.realtime_fields import BetaSessionFields, ClientSecretFields

_ENGLISH = "POST /v1/audio/translations turns speech into English text."
_OF_SPEECH = {
    "source_language": "'language' is what is spoken.",
    "target_language": "'translate_to' is the language to translate to.",
}
_OF_UPLOADS = {
    "audio_file_url": "POST it as JSON to /v1/audio/transcriptions-from-url.",
    "timestamp_offset": "/v1/audio/transcriptions-from-url adds it to every time.",
    **_OF_SPEECH,
}
_TIMESTAMP = "'timestamp' is added to every time."
_URLS = dict.fromkeys(("url", "audio_url", "file_url"), "'audio_file_url' is the recording's URL.")
_WHOLE = frozenset({"batch", "include", "response_format", "stream", "timestamp_granularities"})

TRANSCRIPTIONS = AcceptedFields(
    TranscriptionFields,
    misplaced={"task": _ENGLISH, "translate": _ENGLISH, **_OF_UPLOADS},
    granular=True,
)

TRANSLATIONS = AcceptedFields(
    TranscriptionFields,
    unused=_WHOLE - {"response_format"} | {"language", "languages"},
    misplaced=_OF_UPLOADS,
)

FROM_URL = AcceptedFields(
    FromUrl,
    misplaced={
        "file": "upload it to /v1/audio/transcriptions.",
        "task": "POST /v1/audio/translations turns an upload into English text.",
        "timestamp": "'timestamp_offset' is added to every time.",
        **_OF_SPEECH,
        **_URLS,
    },
    granular=True,
)

TRANSCRIBE = AcceptedFields(
    TranscriptionFields,
    unused=_WHOLE,
    misplaced={"task": _ENGLISH, "translate": _ENGLISH, **_OF_UPLOADS},
)

DIARIZE = AcceptedFields(
    DiarizeFields,
    misplaced={
        "timestamp_offset": _TIMESTAMP,
        **_URLS,
        "response_format": "/v1/audio/diarization answers in other formats.",
        "known_speaker_names": "/v1/audio/diarization takes the voices of speakers; "
        "'known_speakers' are those that the server remembers.",
    },
)

AUDIO_DIARIZATION = AcceptedFields(
    AudioDiarizeFields, misplaced={"timestamp_offset": _TIMESTAMP, **_URLS}
)

SPEAKERS = AcceptedFields(SpeakerFields)

ASR = AcceptedFields(AsrFields, unused=frozenset({"vad_filter"}))

DETECT = AcceptedFields(DetectFields)

TRANSLATE = AcceptedFields(
    TranslateFields,
    misplaced={
        "language": "'source_language' is the text's.",
        "source": "'source_language' is the text's.",
        "target": "'target_language' is the language to translate to.",
        "q": "'text' is what to translate.",
        "translate_to": "'target_language' is the language to translate to.",
    },
)

PAD = AcceptedFields(
    PadFields, misplaced={"audio_file_url": "'track_url' is where the recording is."}
)

LLM = AcceptedFields(
    LlmFields,
    misplaced={
        "messages": "POST /v1/chat/completions reads them; /llm reads a 'prompt'.",
        "response_format": "'gen_schema' is the JSON schema of the answer.",
        "json_schema": "'gen_schema' is the JSON schema of the answer.",
        "schema": "'gen_schema' is the JSON schema of the answer.",
        "stream": "POST /v1/chat/completions streams.",
    },
)

CHAT = AcceptedFields(
    ChatFields,
    misplaced={
        "prompt": "send it as the 'content' of one of the 'messages'.",
        "gen_schema": "'response_format' holds the JSON schema of the answer.",
    },
)

CLIENT_SECRETS = AcceptedFields(
    ClientSecretFields,
    misplaced={
        "audio": "send it inside of 'session'.",
        "turn_detection": "send it as 'session.audio.input.turn_detection'.",
    },
)

BETA_SESSIONS = AcceptedFields(
    BetaSessionFields,
    misplaced={
        "session": "POST /v1/realtime/client_secrets takes it.",
        "expires_after": "send it as 'client_secret.expires_at'.",
    },
)
