"""Which names of fields a route takes for misspelled, and which it ignores."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.api import route_fields
from reflector_gpu.api.accepted_fields import AcceptedFields
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.unknown_fields import NEIGHBOURS

ACCEPTED = {
    name: found for name, found in vars(route_fields).items() if isinstance(found, AcceptedFields)
}

# What clients send on purpose: OpenAI's fields, and those of servers like this one

OF_OPENAI_AUDIO = ["keywords", "languages", "user", "instructions", "speed", "voice", "input"]

OF_OPENAI_CHAT = [
    *("audio", "frequency_penalty", "function_call", "logit_bias", "metadata", "modalities"),
    *("moderation", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key"),
    *("prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "safety_identifier"),
    *("service_tier", "store", "tool_choice", "top_logprobs", "user", "verbosity"),
    "web_search_options",
]

OF_OTHER_SPEECH_SERVERS = [
    # faster-whisper's options, which Speaches, LocalAI and WhisperX servers pass on
    *("vad_filter", "vad_parameters", "beam_size", "best_of", "patience", "length_penalty"),
    *("repetition_penalty", "no_repeat_ngram_size", "compression_ratio_threshold"),
    *("log_prob_threshold", "no_speech_threshold", "condition_on_previous_text"),
    *("prompt_reset_on_temperature", "initial_prompt", "prefix", "suppress_blank"),
    *("suppress_tokens", "without_timestamps", "max_initial_timestamp", "word_timestamps"),
    *("prepend_punctuations", "append_punctuations", "multilingual", "max_new_tokens"),
    *("chunk_length", "clip_timestamps", "hallucination_silence_threshold", "batch_size"),
    *("language_detection_threshold", "language_detection_segments", "compute_type", "device"),
    # whisper.cpp's server
    *("temperature_inc", "offset_t", "offset_n", "duration", "max_context", "max_len"),
    *("split_on_word", "no_timestamps", "detect_language", "tinydiarize", "encoding"),
    *("word_thold", "entropy_thold", "logprob_thold", "no_speech_thold", "suppress_nst"),
    *("no_context", "no_language_probabilities", "debug_mode", "print_realtime"),
    # WhisperX, whisper-asr-webservice, Groq, Deepgram, LiteLLM, Open WebUI, vLLM
    *("output", "encode", "diarize_model", "align_model", "return_char_alignments", "url"),
    *("audio_file", "smart_format", "punctuate", "utterances", "api_key", "api_base"),
    *("custom_llm_provider", "litellm_metadata", "drop_params", "timeout", "provider"),
    *("api-version", "seed", "top_p", "min_p", "top_k", "to_language", "max_completion_tokens"),
    *("stream_include_usage", "stream_continuous_usage_stats", "include_text", "vad_preset"),
    *("clustering_threshold", "min_duration_on", "min_duration_off", "return_timestamps"),
]

OF_OTHER_CHAT_SERVERS = [
    *("top_k", "top_a", "min_p", "min_tokens", "best_of", "use_beam_search", "repetition_penalty"),
    *("length_penalty", "stop_token_ids", "include_stop_str_in_output", "ignore_eos", "echo"),
    *("skip_special_tokens", "spaces_between_special_tokens", "add_generation_prompt"),
    *("guided_json", "guided_regex", "guided_choice", "chat_template", "chat_template_kwargs"),
    *("mm_processor_kwargs", "priority", "request_id", "num_ctx", "num_predict", "keep_alive"),
    *("options", "format", "think", "cache_prompt", "grammar", "n_predict", "mirostat", "samplers"),
    *("typical_p", "dynatemp_range", "dry_multiplier", "transforms", "models", "route"),
    *("provider", "plugins", "reasoning", "include_reasoning", "extra_body", "thinking"),
    *("chat_id", "session_id", "id", "features", "variables", "background_tasks", "model_item"),
]


@pytest.mark.parametrize("route", ACCEPTED)
def test_fields_of_other_servers_are_not_taken_for_misspelled(route: str) -> None:
    names = [*OF_OPENAI_AUDIO, *OF_OTHER_SPEECH_SERVERS, *OF_OPENAI_CHAT, *OF_OTHER_CHAT_SERVERS]
    accepted = ACCEPTED[route]
    known = accepted.model.model_fields.keys() - accepted.unused
    for name in names:
        ignored = accepted.ignored({name: "" if name in accepted.misplaced else "x"})
        assert ignored == ([] if name in known else [name])


@st.composite
def misspelled(draw: st.DrawFn, accepted: AcceptedFields[Any]) -> tuple[str, str]:
    """A name that a route reads, and the same with one mistake."""
    known = accepted.model.model_fields
    names = sorted(name for name in known if len(name.replace("_", "")) >= 4)
    name = draw(st.sampled_from(names))
    at = draw(st.integers(0, len(name) - 1))
    letter = draw(st.sampled_from(string.ascii_lowercase))
    wrong = [
        name[:at] + name[at + 1 :],
        name[:at] + letter + name[at:],
        name[:at] + letter + name[at + 1 :],
        name[:at] + name[at : at + 2][::-1] + name[at + 2 :],
        name.replace("_", "-"),
        name.upper(),
    ]
    fresh = [one for one in wrong if one not in known and one not in NEIGHBOURS]
    return name, draw(st.sampled_from(fresh))


@pytest.mark.parametrize("route", ACCEPTED)
@settings(max_examples=200)
@given(data=st.data())
def test_any_name_with_one_mistake_is_refused(route: str, data: st.DataObject) -> None:
    accepted = ACCEPTED[route]
    name, wrong = data.draw(misspelled(accepted))
    with pytest.raises(InvalidRequest) as failure:
        accepted.ignored({wrong: "x"})
    assert failure.value.param == wrong
    if len(name) > 6:
        assert "did you mean" in failure.value.message


def test_each_name_is_compared_once_and_not_endlessly() -> None:
    """Comparing takes long: what a client can make us do has an end."""
    messages = [{"role": "user", "content": "x", f"key_{n}": 1, "mood": "x"} for n in range(2000)]
    ignored = route_fields.CHAT.ignored({"messages": messages})
    assert ignored[:3] == ["messages.key_0", "messages.mood", "messages.key_1"]
    assert len(ignored) == 2001
