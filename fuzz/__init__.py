"""Attacks on a running server: `make fuzz` takes ten minutes, `tests/test_fuzz.py` a part of one.

- `fuzz.media` makes hostile recordings: crafted ones (`fuzz.media.crafted`), and the samples of
  this repository with mutations that follow from a seed (`fuzz.media.mutated`).
- `fuzz.ways` sends each as an upload, by URL, as base64, as the voice of a speaker, for diarization
  and to be padded.
- `fuzz.target` is the server, in a process of its own under a limit of memory; it says what is
  left behind.
- `fuzz.api` has schemathesis send whatever the OpenAPI document allows and forbids.
- `fuzz.overload` sends ten times what the server can do, slow readers and broken connections
  among it.
"""
