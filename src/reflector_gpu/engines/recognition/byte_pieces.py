"""The bytes of the pieces of a byte-level vocabulary, as GPT-2 and Whisper have.

Such a vocabulary is a text file, so each byte is written as a printable character: its character in
Latin-1 if that is printable, and otherwise one of the characters after Latin-1.
"""

from __future__ import annotations

_SEEN = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_UNSEEN = [byte for byte in range(256) if byte not in _SEEN]
_BYTES = {chr(byte): byte for byte in _SEEN} | {
    chr(256 + number): byte for number, byte in enumerate(_UNSEEN)
}


def bytes_of(piece: str) -> bytes:
    """The bytes of ``piece``. One that is not written in this way stands for its own text."""
    try:
        return bytes(_BYTES[character] for character in piece)
    except KeyError:
        return piece.encode()
