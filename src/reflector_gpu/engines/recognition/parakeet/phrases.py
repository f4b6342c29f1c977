"""Phrases to expect: raises the pieces that spell them while a decoder chooses.

This is phrase boosting by a trie inside greedy decoding (GPU-PB, Andrusenko et al. 2025,
https://arxiv.org/abs/2508.07014). A row stands at a node of the trie: the longest beginning of a
phrase that it has just said. The pieces that lead deeper are raised. Blanks stay: where the network
hears nothing, phrases change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

import numpy as np

from reflector_gpu.engines.recognition.parakeet.tdt import Boosts

_FIRST = 1.0  # nats that the first piece of a phrase is raised by
_LATER = 2.0  # and each later one, besides the logarithm of its place: the paper's
_MOST_NODES = 2000  # so that the tables stay below 30 MB


def boosts(phrases: Iterable[str], vocabulary: Sequence[str], blank: int) -> Boosts | None:
    """The tables for ``phrases``; None if the vocabulary can spell none of them.

    In ``vocabulary``, the texts of pieces by their numbers, a leading space begins a word.
    """
    numbers = {text: number for number, text in enumerate(vocabulary) if number != blank}
    spelt = [spelling(form, numbers) for phrase in phrases for form in _forms(phrase)]
    nodes = _trie(pieces for pieces in spelt if pieces)
    return _tables(nodes, len(vocabulary)) if len(nodes) > 1 else None


_LONGEST_WORD = 100  # characters


def _forms(phrase: str) -> Iterator[str]:
    """``phrase`` as it is, in lower case, and as at the beginning of a sentence."""
    plain = " ".join(phrase.split())
    yield from dict.fromkeys((plain, plain.lower(), plain[:1].upper() + plain[1:]))


def spelling(text: str, numbers: Mapping[str, int]) -> list[int] | None:
    """``text`` in pieces, as SentencePiece's BPE cuts it; None if a character is in no piece.

    Pieces are numbered in the order in which they were merged, so the pair to merge next is the one
    whose piece has the smallest number.
    """
    found: list[int] = []
    for word in text.split():
        if len(word) > _LONGEST_WORD:
            return None  # nobody says such a word, and cutting it up takes long
        parts = [f" {word}"[index] for index in range(len(word) + 1)]
        while True:
            pairs = [one + other for one, other in pairwise(parts)]
            known = [(numbers[pair], place) for place, pair in enumerate(pairs) if pair in numbers]
            if not known:
                break
            place = min(known)[1]
            parts[place : place + 2] = [pairs[place]]
        if not all(part in numbers for part in parts):
            return None
        found += [numbers[part] for part in parts]
    return found


@dataclass(slots=True)
class _Node:
    depth: int
    children: dict[int, int]
    """The next node by the number of a piece."""
    shorter: int = 0
    """The node of the longest beginning of a phrase with which this one ends."""


def _trie(spelt: Iterable[list[int]]) -> list[_Node]:
    nodes = [_Node(0, {})]
    for pieces in spelt:
        if len(nodes) + len(pieces) > _MOST_NODES:
            break
        at = 0
        for piece in pieces:
            if piece not in nodes[at].children:
                nodes[at].children[piece] = len(nodes)
                nodes.append(_Node(nodes[at].depth + 1, {}))
            at = nodes[at].children[piece]
    return nodes


def _tables(nodes: list[_Node], vocabulary: int) -> Boosts:
    """As Aho and Corasick 1975: every node knows where every piece leads."""
    columns = np.array(sorted({piece for node in nodes for piece in node.children}), np.int64)
    column_of = {int(piece): column for column, piece in enumerate(columns)}
    following = np.zeros((len(nodes), len(columns) + 1), np.int64)
    for number in sorted(range(len(nodes)), key=lambda number: nodes[number].depth):
        node = nodes[number]
        if number:
            following[number] = following[node.shorter]
        for piece, child in node.children.items():
            k = column_of[piece]
            nodes[child].shorter = int(following[number, k]) if number else 0
            following[number, k] = child
    raises = np.array([0.0, *map(_raised, range(1, 1 + max(node.depth for node in nodes)))])
    depths = np.array([node.depth for node in nodes])
    column = np.full(vocabulary, len(columns), np.int64)
    column[columns] = np.arange(len(columns))
    return Boosts(columns, raises[depths[following[:, :-1]]].astype(np.float32), following, column)


def _raised(depth: int) -> float:
    return _FIRST if depth == 1 else _LATER + log(depth)
