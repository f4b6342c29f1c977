"""Transcripts in every format that a client can ask for. Each has a pure function.

`openai` has the formats and stream events of OpenAI, `reflector` those of Reflector and
/transcribe, `subtitles` srt and vtt. `response_format` names the formats, and `schemas` has the
JSON bodies.
"""
