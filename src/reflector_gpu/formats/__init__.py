"""A `Transcript` in every shape that a client can ask for. Pure functions, one per shape.

`openai` holds the OpenAI formats and stream events, `reflector` the forms of Reflector and
/transcribe, `subtitles` srt and vtt; `formats` names the formats, `schemas` the JSON bodies.
"""
