"""Remembered voices on disk: a small file for each speaker, encrypted if there is a key.

A file holds what it takes to recognise somebody: a name and a vector. It is named by a digest, so
that a listing of the folder shows no speaker's name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from reflector_gpu.engines.diarization.pyannet.networks import DIMENSIONS
from reflector_gpu.engines.diarization.pyannet.voiceprints import Voiceprint
from reflector_gpu.errors import ConfigurationError, Conflict, StorageFull, Unavailable

logger = logging.getLogger(__name__)

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


@dataclass(frozen=True, slots=True)
class Speakers:
    """Those of an owner, by their names.

    ``unreadable`` counts the files that cannot be read. Their names are lost with them.
    """

    known: Sequence[Remembered]
    unreadable: int


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
        self._told: set[str] = set()

    def all(self, owner: str) -> Speakers:
        """The speakers of ``owner``.

        Raises:
            Unavailable: there are files, and none of them can be read.
        """
        found = list(self._read())
        readable = [one for one in found if one]
        if found and not readable:
            raise Unavailable(
                "REFLECTOR_SPEAKER_STORE has files, and REFLECTOR_SPEAKER_STORE_KEY opens none of "
                "them: the operator has to set the key that they were written with, or none if "
                "there was none. The log has the names of files that are damaged.",
                retry_after=3600,
            )
        own = sorted((one for one in readable if one.owner == owner), key=lambda one: one.name)
        return Speakers(own, len(found) - len(readable))

    def has_file(self, owner: str, name: str) -> bool:
        """Whether there is a file for this speaker, even if it cannot be read."""
        return self._place(owner, name).exists()

    def add(self, speaker: Remembered) -> None:
        """Keep ``speaker``, in place of the owner's speaker of the same name.

        Raises:
            Conflict: the owner has `MOST_SPEAKERS` others.
            StorageFull: the disk is full.
        """
        place = self._place(speaker.owner, speaker.name)
        if not place.exists() and len(self.all(speaker.owner).known) >= MOST_SPEAKERS:
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

    def _read(self) -> Iterator[Remembered | None]:
        """What is in each file; None if that cannot be read."""
        for file in self._folder.glob(f"*{_SUFFIX}"):
            with suppress(FileNotFoundError):  # deleted meanwhile
                speaker = self._speaker(file)
                if speaker is None and file.name not in self._told:
                    self._told.add(file.name)
                    logger.error(
                        "%s cannot be read: it is damaged, or written with another key", file
                    )
                yield speaker

    def _speaker(self, file: Path) -> Remembered | None:
        """
        Raises:
            FileNotFoundError
        """
        try:
            body = file.read_bytes()
            plain = self._cipher.decrypt(body) if self._cipher else body
            speaker = Remembered(**json.loads(plain))
            fits = speaker.voiceprint.shape == (DIMENSIONS,)
        except FileNotFoundError:
            raise
        except Exception:  # noqa: BLE001  the cipher's own error, or whatever else does not fit
            return None
        return speaker if fits else None

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
