"""Remembered voices on disk: a small file for each speaker, encrypted if there is a key.

A file holds what it takes to recognise somebody: a name and a vector. It is named by a digest, so
that a listing of the folder shows no speaker's name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from reflector_gpu.engines.diarization.pyannet.networks import DIMENSIONS
from reflector_gpu.engines.diarization.pyannet.voiceprints import Voiceprint
from reflector_gpu.errors import ConfigurationError, Conflict, StorageFull, Unavailable

MOST_SPEAKERS = 1000
"""Of one owner; each request that asks for all of them reads their files."""

_SUFFIX = ".voice"
_SALT = b"reflector-gpu remembered voices"


@dataclass(frozen=True, slots=True)
class Remembered:
    """A speaker. ``voice`` is the `Voiceprint` in base64; ``created`` is a Unix time."""

    owner: str
    name: str
    voice: str
    seconds: float
    created: int

    @classmethod
    def of(
        cls, owner: str, name: str, voice: Voiceprint, seconds: float, created: int
    ) -> Remembered:
        data = base64.b64encode(voice.astype("<f4").tobytes()).decode()
        return cls(owner, name, data, seconds, created)

    @property
    def voiceprint(self) -> Voiceprint:
        return np.frombuffer(base64.b64decode(self.voice), "<f4").astype(np.float32)


class Cipher(Protocol):
    """What `cryptography.fernet.Fernet` does."""

    def encrypt(self, data: bytes) -> bytes: ...
    def decrypt(self, token: bytes) -> bytes: ...


class SpeakerFiles:
    """The files of all owners. Its methods block, so call them in a thread."""

    def __init__(self, folder: Path, key: str | None) -> None:
        """The ``folder`` is made if need be. With a ``key`` everything in it is encrypted.

        Raises:
            ConfigurationError: the folder cannot be used, or nothing here can encrypt.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"REFLECTOR_SPEAKER_STORE: {folder} cannot be used as a folder: {error.strerror}."
            ) from None
        self._folder = folder
        self._secret = _stretched(key) if key else b""
        self._cipher = _cipher(self._secret) if key else None

    def all(self, owner: str) -> list[Remembered]:
        """The speakers of ``owner``, by their names.

        Raises:
            Unavailable: they were written with another key.
        """
        found = [one for one in self._read() if one.owner == owner]
        return sorted(found, key=lambda one: one.name)

    def add(self, speaker: Remembered) -> None:
        """Keep ``speaker``, in place of the owner's speaker of the same name.

        Raises:
            Conflict: the owner has `MOST_SPEAKERS` others.
            StorageFull: the disk is full.
        """
        place = self._place(speaker.owner, speaker.name)
        if not place.exists() and len(self.all(speaker.owner)) >= MOST_SPEAKERS:
            raise Conflict(f"There are {MOST_SPEAKERS} speakers, which is the limit; delete some.")
        body = json.dumps(asdict(speaker)).encode()
        if self._cipher:
            body = self._cipher.encrypt(body)
        try:
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                try:
                    file.write(body)
                    file.flush()
                    os.fsync(file.fileno())
                    Path(file.name).replace(place)
                except BaseException:
                    Path(file.name).unlink()
                    raise
        except OSError as error:
            raise StorageFull(f"The speaker cannot be kept: {error.strerror}.") from error

    def remove(self, owner: str, name: str) -> bool:
        """Forget a speaker. False if there is none of this name."""
        try:
            self._place(owner, name).unlink()
        except FileNotFoundError:
            return False
        return True

    def _read(self) -> Iterator[Remembered]:
        for file in self._folder.glob(f"*{_SUFFIX}"):
            with suppress(FileNotFoundError):  # deleted meanwhile
                yield self._speaker(file.read_bytes())

    def _speaker(self, body: bytes) -> Remembered:
        try:
            plain = self._cipher.decrypt(body) if self._cipher else body
            speaker = Remembered(**json.loads(plain))
            fits = speaker.voiceprint.shape == (DIMENSIONS,)
        except Exception:  # noqa: BLE001  the cipher's own error, or whatever else does not fit
            fits = False
        if not fits:
            raise Unavailable(
                "REFLECTOR_SPEAKER_STORE has files that REFLECTOR_SPEAKER_STORE_KEY does not open: "
                "the operator has to set the key that they were written with, or none if there was "
                "none.",
                retry_after=3600,
            )
        return speaker

    def _place(self, owner: str, name: str) -> Path:
        text = json.dumps([owner, name]).encode()
        digest = hmac.new(self._secret, text, hashlib.sha256).hexdigest()
        return self._folder / f"{digest[:40]}{_SUFFIX}"


def _stretched(key: str) -> bytes:
    return hashlib.scrypt(key.encode(), salt=_SALT, n=2**14, r=8, p=1, dklen=32)


def _cipher(secret: bytes) -> Cipher:
    try:
        from cryptography.fernet import Fernet
    except ImportError:
        raise ConfigurationError(
            "REFLECTOR_SPEAKER_STORE_KEY needs an extra package: pip install "
            "'reflector-gpu[encryption]'."
        ) from None
    cipher: Cipher = Fernet(base64.urlsafe_b64encode(secret))
    return cipher
