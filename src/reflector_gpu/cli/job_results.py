"""Results of jobs for the command line: their formats, and how text shows speakers."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from pydantic import JsonValue

from reflector_gpu.cli.job_client import JobClient, Result
from reflector_gpu.errors import InvalidRequest, UpstreamFailed

_ENDINGS = {
    "text": "txt",
    "json": "json",
    "srt": "srt",
    "vtt": "vtt",
    "verbose_json": "verbose.json",
    "diarized_json": "speakers.json",
    "reflector": "reflector.json",
    "rttm": "rttm",
}
_OF_DIARIZATION = ("json", "rttm")


def format_of(asked: str | None, kind: JsonValue, file: Path | None) -> str:
    """The format that was ``asked`` for, or that of the ending of ``file``, or that of the kind.

    Raises:
        InvalidRequest: no format has this ending, or the kind has no such format.
    """
    found = "text" if asked == "txt" else asked
    if found is None and file is not None and file.suffix:
        found = _by_ending(file)
    if kind == "diarization":
        if found not in (None, *_OF_DIARIZATION):
            raise InvalidRequest("Jobs of the kind 'diarization' have the formats json and rttm.")
        return found or "json"
    if found == "rttm":
        raise InvalidRequest("Only jobs of the kind 'diarization' have the format rttm.")
    return found or "text"


def ending_of(form: str) -> str:
    """The ending of files in a folder, which no other format has."""
    return _ENDINGS[form]


def format_of_file(file: Path) -> str | None:
    """The format that the ending of ``file`` says; None: the job's own.

    Raises:
        InvalidRequest: no format has this ending.
    """
    found = _by_ending(file) if file.suffix else None
    return None if found == "json" else found


def fetched(client: JobClient, job_id: str, form: str | None, *, partial: bool = False) -> Result:
    """The result of a job. Text has a line for each turn where the job has told speakers apart.

    What is translated has no such lines.
    """
    if form == "text":
        with suppress(UpstreamFailed):  # where no speakers were told apart
            turns, warnings = client.result(job_id, "diarized_json", partial=partial)
            if json.loads(turns).get("translation") is None:
                return Result(dialogue(turns), warnings)
    return client.result(job_id, form, partial=partial)


def dialogue(diarized_json: str) -> str:
    """A line for each turn, which begins with its speaker."""
    found = json.loads(diarized_json)
    text, position, speaker, pieces = found["text"], 0, None, []
    for segment in found["segments"]:
        words = segment["text"].strip()
        begin = max(position, text.find(words, position))
        if segment["speaker"] != speaker:
            speaker = segment["speaker"]
            pieces.append(f"\n{speaker}: {words}")
        else:  # languages without spaces have none between sentences
            pieces.append(f"{text[position:begin]}{words}")
        position = begin + len(words)
    return f"{''.join(pieces)}\n".lstrip("\n")


def _by_ending(file: Path) -> str:
    name = file.name.lower()
    fitting = [form for form, ending in _ENDINGS.items() if name.endswith(f".{ending}")]
    if not fitting:
        endings = ", ".join(f".{ending}" for ending in _ENDINGS.values())
        raise InvalidRequest(
            f"{file}: no format ends in {file.suffix}. Pass --format, or a name that ends in one "
            f"of {endings}."
        )
    return max(fitting, key=lambda form: len(_ENDINGS[form]))
