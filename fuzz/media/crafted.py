"""Every crafted file by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from fuzz.media import Media, alac, caf, flac, id3, iso, matroska, ogg, wav

CRAFTED: Mapping[str, Callable[[], bytes]] = {
    # Tables of samples that are not there
    "caf: 100 million packets": partial(caf.packet_table, 100_000_000),
    "flac: 500,000 seek points": partial(flac.with_seek_points, 500_000),
    # Much sound in few bytes
    "flac: 32 seconds in 14 bytes": partial(flac.constant, 32),
    "flac: 6 hours in 9 KB": partial(flac.constant, 21_298),
    "ogg: a jump of 10 hours": partial(ogg.jump, 36_000),
    # Streams
    "matroska: 900 audio tracks": partial(matroska.many_tracks, 900),
    "ogg: 5,000 streams at once": partial(ogg.many_streams, 5_000),
    "ogg: 1,000 streams in a row": partial(ogg.chained, 1_000),
    # Metadata
    "flac: 5,000 comments": partial(flac.with_comments, 5_000),
    "ogg: 5,000 comments": partial(ogg.many_comments, 5_000),
    "mp3: tag of 256 MB that is not there": partial(id3.tagged, b"", claimed=0xFFFFFFF),
    # Nesting
    "mp4: 10,000 boxes deep": partial(iso.deep_boxes, 10_000),
    "matroska: tags 5,000 deep": partial(matroska.deep_tags, 5_000),
    "matroska: 100,000 clusters of unknown size": partial(matroska.deep_clusters, 100_000),
    # Heads that lie
    "matroska: block of 64 PB": matroska.claims_everything,
    "caf: a rate that is no number": caf.no_rate,
    "aiff: rate of 2^100": partial(caf.aiff_of_rate, 100),
    "aiff: rate of 2^-100": partial(caf.aiff_of_rate, -100),
    "wav: 100,000 empty chunks": partial(wav.endless_chunks, 100_000),
    "wav: 20,000 files of one sample": partial(wav.joined, 20_000),
    **{f"wav: {lie}": partial(bytes, data) for lie, data in wav.liars().items()},
}
"""Files that lie, or repeat themselves."""

BOMBS: Mapping[str, Callable[[], bytes]] = {
    "mp4: 1 million samples": partial(iso.many_samples, 1_000_000),
    "alac: packet of 1 million samples": partial(alac.huge_packet, 1_000_000),
    "ogg: 900 streams at once": partial(ogg.many_streams, 900),
    "mp4: 85 million samples": partial(iso.many_samples, 85_000_000),
    "mp4: fragment of 50 million samples": partial(iso.long_fragment, 50_000_000),
    "alac: packet of 16.7 million samples": partial(alac.huge_packet, 16_700_000),
    "matroska: zlib, 10 blocks of 8 MB": partial(matroska.compressed, 10, 8_000_000),
    "flac: cover of 16,000 x 16,000": partial(flac.with_cover, 16_000, 16_000),
    "mp3: cover of 16,000 x 16,000": partial(id3.with_cover, 16_000, 16_000),
    "mp4: 999 video tracks": partial(iso.many_pictures, 999),
}
"""Files that make FFmpeg ask for gigabytes, or keep what it took."""

BURDENS: Mapping[str, Callable[[], bytes]] = {
    "mp3: 50,000 chapters": partial(id3.with_chapters, 50_000),
    "flac: 400,000 comments": partial(flac.with_comments, 400_000),
    "ogg: 300,000 comments": partial(ogg.many_comments, 300_000),
    "mp3: 100,000 texts": partial(id3.with_texts, 100_000),
    "mp4: 100,000 tags": partial(iso.many_tags, 100_000),
    "matroska: 100,000 tags": partial(matroska.many_tags, 100_000),
}
"""Files that take minutes of FFmpeg's time, which only the limit of a decoder's ends. Too slow for
the tests; `make fuzz` sends them."""


def crafted() -> Iterator[Media]:
    """The files that the tests send."""
    return _made({**CRAFTED, **BOMBS})


def all_crafted() -> Iterator[Media]:
    """The files that `make fuzz` sends."""
    return _made({**CRAFTED, **BOMBS, **BURDENS})


def _made(files: Mapping[str, Callable[[], bytes]]) -> Iterator[Media]:
    for name, make in files.items():
        yield Media(name, make())
