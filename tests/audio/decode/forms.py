"""The containers and sample formats that clients send."""

from __future__ import annotations

import struct

from reflector_gpu.types import SAMPLE_RATE
from tests.audio.media import Form

FORMS = {
    "mp3 cbr": Form("mp3", "libmp3lame", 44_100, options={"b": "64000"}),
    "mp3 vbr": Form("mp3", "libmp3lame", 44_100, options={"q": "4"}),
    "mp3 without a LAME header": Form("mp3", "libmp3lame", 44_100, muxing={"write_xing": "0"}),
    "mp3 at 8 kHz": Form("mp3", "libmp3lame", 8_000),
    "mp3 at 16 kHz": Form("mp3", "libmp3lame", 16_000),
    "mp4 index last": Form("mp4", "aac", 44_100),
    "mp4 index first": Form("mp4", "aac", 44_100, muxing={"movflags": "faststart"}),
    "mp4 in fragments": Form("mp4", "aac", 44_100, muxing={"movflags": "empty_moov+frag_keyframe"}),
    "m4a": Form("ipod", "aac", 44_100, "stereo"),
    "m4a lossless": Form("ipod", "alac", 44_100),
    "m4a surround": Form("ipod", "aac", 48_000, "5.1"),
    "mov": Form("mov", "aac", 48_000, "stereo"),
    "mov pcm": Form("mov", "pcm_s16be", 22_050),
    "webm": Form("webm", "libopus", 48_000),
    "webm stereo": Form("webm", "libopus", 48_000, "stereo"),
    "ogg vorbis": Form("ogg", "vorbis", 44_100, "stereo", options={"strict": "-2"}),
    "ogg opus": Form("ogg", "libopus", 48_000),
    "ogg flac": Form("ogg", "flac", 16_000),
    "opus": Form("opus", "libopus", 48_000),
    "flac": Form("flac", "flac", 16_000),
    "flac surround at 96 kHz": Form("flac", "flac", 96_000, "5.1"),
    "aac": Form("adts", "aac", 44_100),
    "aac at 11 kHz": Form("adts", "aac", 11_025),
    "wav 16 bits": Form("wav", "pcm_s16le"),
    "wav float": Form("wav", "pcm_f32le"),
    "wav 24 bits": Form("wav", "pcm_s24le", 48_000, "stereo"),
    "wav 8 bits": Form("wav", "pcm_u8", 11_025),
    "wav A-law": Form("wav", "pcm_alaw", 8_000),
    "wav surround": Form("wav", "pcm_s16le", 44_100, "5.1"),
    "wav at 96 kHz": Form("wav", "pcm_s16le", 96_000),
    "au": Form("au", "pcm_s16be", 16_000),
    "wavpack": Form("wv", "wavpack", 44_100, "stereo"),
    "flv": Form("flv", "aac", 44_100),
    "ac3": Form("ac3", "ac3", 48_000, "stereo"),
    "eac3": Form("eac3", "eac3", 48_000, "stereo"),
    "mpga": Form("mp2", "mp2", 44_100),
    "mpeg": Form("mpeg", "mp2", 44_100),
    "mpeg transport stream": Form("mpegts", "aac", 44_100),
    "mp4 film": Form("mp4", "aac", 44_100, video="mpeg4"),
    "webm film": Form("webm", "libopus", 48_000, video="libvpx"),
    "mkv film": Form("matroska", "pcm_s16le", 16_000, video="mpeg4"),
}

INDEX_LAST = [name for name, form in FORMS.items() if form.muxer in ("ipod", "mov")]

INDEX_LAST += ["mp4 index last", "mp4 film"]


def wav(pcm: bytes, *, channels: int = 1, rate: int = SAMPLE_RATE, claimed: int = -1) -> bytes:
    """A 16-bit WAV by hand; ``claimed`` is the size in its header."""
    size = len(pcm) if claimed < 0 else claimed
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", min(2**32 - 1, len(head) + size)) + head + pcm
