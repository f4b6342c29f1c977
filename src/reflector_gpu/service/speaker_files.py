"""Remembered voices on disk: a small file for each speaker, encrypted if there is a key.

A file holds a name and the vector of a voice. Two digests are its name. The first is of its owner:
only the owner's files are read for a request, so a damaged file of another owner does no harm. The
second is of the speaker: a listing of the folder shows no speaker's name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import tempfile
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
"""Of one owner; each request that asks for some of them reads their files."""

_OWNER_DIGITS, _SPEAKER_DIGITS = 16, 40  # of the digests in a file's name
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
        self._told: set[str] = set()
        try:
            self._rename_older()
        except OSError as error:
            raise ConfigurationError(
                f"REFLECTOR_SPEAKER_STORE: files in {folder} cannot be renamed: {error.strerror}."
            ) from None

    def all(self, owner: str) -> tuple[list[Remembered], int]:
        """The speakers of ``owner`` by their names, and how many more of its files are damaged.

        Raises:
            Unavailable: all its files are damaged, or the disk does not let us read one.
        """
        found = list[Remembered | None]()
        for file in self._files_of(owner):
            with suppress(FileNotFoundError):  # deleted meanwhile
                found.append(self._speaker(file))
        known = sorted(
            (one for one in found if one and one.owner == owner), key=lambda one: one.name
        )
        if found and not known:
            raise Unavailable(
                "None of your remembered voices can be read. Either REFLECTOR_SPEAKER_STORE_KEY is "
                "not the key that they were written with, which the operator has to set, or their "
                "files are damaged: send clips of the voices again. The server's log has the names "
                "of the files.",
                retry_after=3600,
            )
        return known, len(found) - len(known)

    def has_file(self, owner: str, name: str) -> bool:
        """Whether there is a file for this speaker, even if it cannot be read."""
        return any(place.exists() for place in self._places(owner, name))

    def add(self, speaker: Remembered) -> None:
        """Keep ``speaker``, in place of the owner's speaker of the same name.

        Raises:
            Conflict: the owner has `MOST_SPEAKERS` others.
            StorageFull: the disk is full.
            Unavailable: the disk does not let us read the folder.
        """
        place, older = self._places(speaker.owner, speaker.name)
        if not place.exists() and len(self._files_of(speaker.owner)) >= MOST_SPEAKERS:
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
            older.unlink(missing_ok=True)
        except OSError as error:
            raise StorageFull(f"The speaker cannot be kept: {error.strerror}.") from error

    def remove(self, owner: str, name: str) -> bool:
        """Forget a speaker. False if there is none of this name."""
        there = self.has_file(owner, name)
        for place in self._places(owner, name):
            place.unlink(missing_ok=True)
        return there

    def _files_of(self, owner: str) -> list[Path]:
        prefix = f"{_owner_digest(owner)}-"
        try:
            return [file for file in self._folder.iterdir() if file.name.startswith(prefix)]
        except OSError as error:
            raise _unreadable(self._folder, error) from error

    def _speaker(self, file: Path) -> Remembered | None:
        """What is in ``file``; None if it is damaged.

        Raises:
            FileNotFoundError, Unavailable
        """
        try:
            body = file.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _unreadable(file, error) from error
        try:
            plain = self._cipher.decrypt(body) if self._cipher else body
            speaker = Remembered(**json.loads(plain))
            if speaker.voiceprint.shape != (DIMENSIONS,):
                raise ValueError("the vector has another length")
        except Exception as error:  # noqa: BLE001  the cipher's own, or whatever else does not fit
            if file.name not in self._told:
                self._told.add(file.name)
                logger.error(
                    "%s is damaged, or written with another key (%s: %s)",
                    file,
                    type(error).__name__,
                    error,
                )
            return None
        return speaker

    def _rename_older(self) -> None:
        """Give files of earlier versions, whose names do not tell their owners, the names of today.

        Raises:
            OSError
        """
        for file in self._folder.glob("?" * _SPEAKER_DIGITS + _SUFFIX):
            with suppress(FileNotFoundError, Unavailable):  # renamed meanwhile, or logged
                if speaker := self._speaker(file):
                    file.replace(self._places(speaker.owner, speaker.name)[0])

    def _places(self, owner: str, name: str) -> tuple[Path, Path]:
        """Where the file of a speaker is, and where earlier versions had it.

        Only files that could not be read at the start are still there.
        """
        text = json.dumps([owner, name]).encode()
        digest = hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:_SPEAKER_DIGITS]
        names = f"{_owner_digest(owner)}-{digest}{_SUFFIX}", f"{digest}{_SUFFIX}"
        return self._folder / names[0], self._folder / names[1]


def _unreadable(path: Path, error: OSError) -> Unavailable:
    """Not damage: ``path`` may be intact."""
    logger.error("%s cannot be read: %s", path, error.strerror)
    return Unavailable(
        f"The remembered voices cannot be read now ({error.strerror}); try again later."
    )


def _owner_digest(owner: str) -> str:
    """It does not depend on the key, so that files are missed if that is a wrong one."""
    return hashlib.sha256(owner.encode()).hexdigest()[:_OWNER_DIGITS]


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
