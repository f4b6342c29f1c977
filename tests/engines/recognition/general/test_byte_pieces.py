"""Pieces of byte-level vocabularies are the bytes of the text that they were cut from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from reflector_gpu.engines.recognition.byte_pieces import bytes_of


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_what_the_tokenizer_library_writes_is_read_back(text: str) -> None:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ((piece, _),) = byte_level.pre_tokenize_str(text)
    assert bytes_of(piece) == text.encode()


def test_every_byte_has_a_character_of_its_own() -> None:
    written = sorted(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(bytes_of(character) for character in written) == [
        bytes([byte]) for byte in range(256)
    ]


def test_a_piece_that_is_written_otherwise_stands_for_itself() -> None:
    assert bytes_of("<|nospeech|> 好") == "<|nospeech|> 好".encode()
