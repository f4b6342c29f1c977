"""The samples of this repository in many containers, damaged in ways that follow from a seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import av
import numpy as np

from fuzz.media import Media
from reflector_gpu.types import SAMPLE_RATE, Samples
from samples.server import SAMPLES
from tests.audio.media import Form, encode

_CLIP_SECONDS = 2
_FORMS = {
    "wav": Form("wav", "pcm_s16le"),
    "wav, 24 bits": Form("wav", "pcm_s24le", 44_100, "5.1"),
    "mp3": Form("mp3", "libmp3lame", 44_100),
    "m4a": Form("mp4", "aac", 44_100),
    "m4a, index first": Form("mp4", "aac", 44_100, muxing={"movflags": "faststart"}),
    "m4a, fragments": Form(
        "mp4",
        "aac",
        44_100,
        muxing={"movflags": "empty_moov+frag_keyframe", "frag_duration": "500000"},
    ),
    "alac": Form("mp4", "alac", 44_100),
    "film": Form("mov", "aac", 44_100, video="mpeg4"),
    "webm": Form("webm", "libopus", 48_000, "stereo"),
    "matroska": Form("matroska", "flac", 44_100),
    "ogg": Form("ogg", "libopus", 48_000),
    "flac": Form("flac", "flac"),
    "aac": Form("adts", "aac", 44_100),
    "caf": Form("caf", "pcm_s16be"),
    "aiff": Form("aiff", "pcm_s16be"),
    "avi": Form("avi", "mp2", 44_100, video="mpeg4"),
    "mpegts": Form("mpegts", "aac", 44_100),
    "mpeg": Form("mpeg", "mp2", 44_100),
    "flv": Form("flv", "aac", 44_100),
    "asf": Form("asf", "mp2", 44_100),
    "wavpack": Form("wv", "wavpack", 44_100),
    "au": Form("au", "pcm_s16be"),
}
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_NAMES = (
    *(b"moov trak mdia stbl stsz stco stsc stts stsd mdat moof trun tfhd elst udta".split()),
    *(b"fmt  data RIFF LIST OggS OpusHead fLaC ID3 Xing COMM SSND desc pakt chan".split()),
    *(bytes.fromhex(one) for one in "18538067 1F43B675 1654AE6B A3 E7".split()),
)
"""Words of containers, behind or before which a size stands."""


def originals() -> Mapping[str, bytes]:
    """Two seconds of a sample in every container, and the shorter samples themselves."""
    clip = _clip()
    made = {
        name: encode(clip, replace(form, muxing={"fflags": "+bitexact", **form.muxing}))
        for name, form in _FORMS.items()
    }
    files = ("anna.ogg", "jfk.flac")
    return {**made, **{name: (SAMPLES / name).read_bytes() for name in files}}


def mutated(count: int, *, seed: int = 0) -> Iterator[Media]:
    """``count`` files. The same ``seed`` gives the same ones, with the same version of PyAV."""
    sources = originals()
    names = sorted(sources)
    for number in range(count):
        dice = random.Random(f"{seed}/{number}")
        name = names[number % len(names)]
        data = bytearray(sources[name])
        done = dice.choices(list(MUTATIONS), k=dice.choice((1, 1, 1, 2, 3)))
        for mutation in done:
            MUTATIONS[mutation](data, dice, sources)
        yield Media(f"{seed}/{number}: {name}, {', '.join(done)}", bytes(data))


Mutation = Callable[[bytearray, random.Random, Mapping[str, bytes]], None]


def _bits(data: bytearray, dice: random.Random, _: Mapping[str, bytes]) -> None:
    for _bit in range(dice.choice((1, 10, 100))):
        if data:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _head(data: bytearray, dice: random.Random, _: Mapping[str, bytes]) -> None:
    for _byte in range(dice.randrange(1, 20)):
        if data:
            data[dice.randrange(min(600, len(data)))] = dice.randrange(256)


def _truncation(data: bytearray, dice: random.Random, _: Mapping[str, bytes]) -> None:
    del data[dice.randrange(len(data) + 1) :]


def _hole(data: bytearray, dice: random.Random, _: Mapping[str, bytes]) -> None:
    first = dice.randrange(len(data) + 1)
    del data[first : first + dice.randrange(5_000)]


def _noise(data: bytearray, dice: random.Random, _: Mapping[str, bytes]) -> None:
    first = dice.randrange(len(data) + 1)
    data[first:first] = dice.randbytes(dice.randrange(2_000))


def _splice(data: bytearray, dice: random.Random, sources: Mapping[str, bytes]) -> None:
    """Go on as another file does."""
    other = sources[dice.choice(sorted(sources))]
    data[dice.randrange(len(data) + 1) :] = other[dice.randrange(len(other)) :]


def _repetition(data: bytearray, dice: random.Random, _: Mapping[str, bytes]) -> None:
    first = dice.randrange(len(data) + 1)
    data[first:first] = data[first : first + dice.randrange(1_000)] * dice.randrange(2, 50)


def _number(data: bytearray, dice: random.Random, _: Mapping[str, bytes]) -> None:
    """A field of the head is the largest, the least, or the first that is negative."""
    order, code = dice.choice("<>"), dice.choice("BHIQ")
    width = struct.calcsize(code)
    if len(data) >= width:
        at = dice.randrange(min(1_000, len(data) - width + 1))
        value = dice.choice(_NUMBERS) & (1 << 8 * width) - 1
        data[at : at + width] = struct.pack(order + code, value)


def _size(data: bytearray, dice: random.Random, _: Mapping[str, bytes]) -> None:
    """The size beside the name of a box, a chunk or an element is another one."""
    there = [name for name in _NAMES if name in data]
    if not there:
        return
    name = dice.choice(there)
    at = data.index(name) + dice.choice((-4, len(name), len(name) + 4, len(name) + 8))
    if 0 <= at <= len(data) - 4:
        value = dice.choice((*_NUMBERS, dice.getrandbits(32), dice.randrange(100)))
        data[at : at + 4] = struct.pack(dice.choice("<>") + "I", value)


MUTATIONS: Mapping[str, Mutation] = {
    "bits": _bits,
    "head": _head,
    "truncation": _truncation,
    "hole": _hole,
    "noise": _noise,
    "splice": _splice,
    "repetition": _repetition,
    "number": _number,
    "size": _size,
}


def _clip() -> Samples:
    """The beginning of a sample, in which somebody speaks."""
    with av.open(str(SAMPLES / "jfk.flac")) as container:
        pieces = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    pcm = np.concatenate(pieces)[: _CLIP_SECONDS * SAMPLE_RATE].astype(np.float32)
    return pcm * np.float32(2.0**-15)
