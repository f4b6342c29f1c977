"""People whose voices are remembered, and which of them speaks in a recording."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Literal, Never

import numpy as np

from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.engines.diarization.pyannet.voiceprints import SAME, Voiceprint
from reflector_gpu.errors import InvalidRequest, NotConfigured, NotFound, Unavailable
from reflector_gpu.pcm import PcmBytes, PcmFile, encoded
from reflector_gpu.pipeline.identification import Identify, KnownSpeaker
from reflector_gpu.pipeline.voices import Voice
from reflector_gpu.service.live_diarization import LiveDiarization
from reflector_gpu.service.speaker_files import Remembered, SpeakerFiles
from reflector_gpu.settings import Settings
from reflector_gpu.types import SAMPLE_RATE, SpeakerTurn

EVERYBODY: Literal["all"] = "all"
"""What a client writes for all speakers that it has."""

MOST_CLIPS = 16

_MENDED_SECONDS = 3600.0  # Retry-After for a damaged file, which has to be replaced first


class KnownSpeakers:
    """Remembers voices if the settings name a place. Nothing of it runs on the event loop."""

    def __init__(self, settings: Settings, diarization: LiveDiarization) -> None:
        """
        Raises:
            ConfigurationError: the place cannot be used.
        """
        key = settings.speaker_store_key
        place = settings.speaker_store
        secret = key.get_secret_value() if key else None
        self._files = SpeakerFiles(place, secret) if place else None
        self._diarization = diarization

    def check(self) -> None:
        """Raise `NotConfigured` if nothing is remembered here."""
        self._there()

    def check_wanted(self) -> None:
        """Raise `InvalidRequest` about the speakers of a request if none are remembered here."""
        try:
            self._there()
        except NotConfigured as error:
            raise InvalidRequest(error.message, param="known_speakers") from None

    async def all(self, owner: str) -> tuple[list[Remembered], int]:
        """The speakers of ``owner``, and how many more of its files are damaged.

        Raises:
            Unavailable: as `SpeakerFiles.all`.
        """
        files = self._there()
        return await asyncio.to_thread(files.all, owner)

    async def add(self, owner: str, name: str, clips: Sequence[Voice]) -> Remembered:
        """Remember how ``name`` sounds in ``clips``, in place of what was known of them.

        Raises:
            InvalidRequest: somebody else is heard as well, or too little of anybody.
            Conflict, StorageFull, Unavailable: as `SpeakerFiles.add`.
        """
        files = self._there()
        await self._diarization.load()
        prints = [await self._heard(clip) for clip in clips]
        voice = np.stack(prints).sum(axis=0)
        voice /= np.linalg.norm(voice)
        seconds = sum(len(clip.samples) for clip in clips) / SAMPLE_RATE
        found = Remembered.of(owner, name, voice, round(seconds, 2), int(time.time()))
        await asyncio.to_thread(files.add, found)
        return found

    async def remove(self, owner: str, name: str) -> None:
        """Forget how ``name`` sounds.

        Raises:
            NotFound: nobody of this name is remembered.
        """
        if not await asyncio.to_thread(self._there().remove, owner, name):
            raise NotFound(f"There is no speaker '{name}'.", param="name")

    async def identification(self, owner: str, wanted: Sequence[str]) -> Identify:
        """What finds those speakers of ``owner`` whose names are ``wanted``, or `EVERYBODY`.

        Raises:
            InvalidRequest: there is no such speaker, or nothing is remembered here.
            Unavailable: some of them cannot be read.
        """
        self.check_wanted()
        speakers, damaged = await self.all(owner)
        if EVERYBODY not in wanted:
            names = {one.name for one in speakers}
            if unknown := [name for name in wanted if name not in names]:
                await self._refuse(owner, unknown[0])
            speakers = [one for one in speakers if one.name in wanted]
        elif damaged:
            raise Unavailable(
                f"Some of your remembered voices are damaged ({damaged}). Send clips of those that "
                "GET /v1/speakers does not list again, or name the others instead of "
                f"'{EVERYBODY}'.",
                retry_after=_MENDED_SECONDS,
                param="known_speakers",
            )
        await self._diarization.load()

        async def identify(
            recorder: Recorder, turns: Sequence[SpeakerTurn]
        ) -> Mapping[int, KnownSpeaker]:
            pcm = PcmFile.duplicate(recorder.descriptor)
            heard = await self._diarization.voiceprints(pcm, turns)
            return await asyncio.to_thread(
                closest, heard, {one.name: one.voiceprint for one in speakers}
            )

        return identify

    async def _refuse(self, owner: str, name: str) -> Never:
        if await asyncio.to_thread(self._there().has_file, owner, name):
            raise Unavailable(
                f"The voice of '{name}' is damaged; send clips of it to /v1/speakers again.",
                retry_after=_MENDED_SECONDS,
                param="known_speakers",
            )
        raise InvalidRequest(
            f"There is no speaker '{name}'; GET /v1/speakers lists those whose voices are "
            "remembered.",
            param="known_speakers",
        )

    async def _heard(self, clip: Voice) -> Voiceprint:
        """How the one person in ``clip`` sounds."""
        pcm = PcmBytes(encoded(clip.samples))
        turns = await self._diarization.turns(pcm)
        heard = await self._diarization.voiceprints(pcm, turns)
        if len({turn.speaker for turn in turns}) > 1:
            raise InvalidRequest(
                f"Several people speak in '{clip.name}'; send clips of one person.", param="file"
            )
        if not heard:
            raise InvalidRequest(
                f"'{clip.name}' has too little of anybody's voice; send two to thirty seconds.",
                param="file",
            )
        return heard[turns[0].speaker]

    def _there(self) -> SpeakerFiles:
        if self._files is None:
            raise NotConfigured(
                "This server remembers no voices: its operator has to set REFLECTOR_SPEAKER_STORE "
                "to a folder for them."
            )
        return self._files


def closest(
    heard: Mapping[int, Voiceprint], known: Mapping[str, Voiceprint]
) -> Mapping[int, KnownSpeaker]:
    """Who of ``known`` each speaker is. The most alike are matched first, and nobody twice."""
    pairs = sorted(
        (
            (float(voice @ other), speaker, name)
            for speaker, voice in heard.items()
            for name, other in known.items()
        ),
        key=lambda pair: (-pair[0], pair[1:]),
    )
    found: dict[int, KnownSpeaker] = {}
    taken: set[str] = set()
    for alike, speaker, name in pairs:
        if alike >= SAME and speaker not in found and name not in taken:
            found[speaker] = KnownSpeaker(name, round(min(alike, 1.0), 3))
            taken.add(name)
    return found
