"""Pair the speakers of a window with different people, so that all fit best together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

NOBODY = -1
"""Stands for a speaker who is none of the people, or is silent."""


def best_pairs(alike: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.intp]:
    """The column of each row of ``alike``, none of them twice, with the largest sum.

    Of more rows than columns, those that fit worst get `NOBODY`.
    """
    found: npt.NDArray[np.intp] = alike.argmax(axis=1)
    if len(set(found.tolist())) == len(found):  # as nearly always
        return found
    if len(alike) <= alike.shape[1]:
        return _hungarian(-alike)
    found = np.full(len(alike), NOBODY)
    found[_hungarian(-alike.T)] = np.arange(alike.shape[1])
    return found


def _hungarian(costs: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.intp]:
    """The Hungarian algorithm with potentials; there are no fewer columns than rows.

    Rows are taken in one by one. A new row takes its cheapest column; if another has it, that one
    moves on, along the cheapest of all such chains.
    """
    rows, columns = costs.shape
    row_cost, column_cost = np.zeros(rows), np.zeros(columns + 1)
    owner = np.full(columns + 1, -1)  # the last is where a new row begins
    for row in range(rows):
        owner[columns] = row
        column = columns
        least = np.full(columns, np.inf)
        came_from = np.full(columns, columns)
        used = np.zeros(columns + 1, bool)
        while owner[column] >= 0:
            used[column] = True
            current = owner[column]
            reduced = costs[current] - row_cost[current] - column_cost[:columns]
            better = ~used[:columns] & (reduced < least)
            least[better], came_from[better] = reduced[better], column
            free = np.where(used[:columns], np.inf, least)
            following = int(free.argmin())
            change = free[following]
            row_cost[owner[used]] += change
            column_cost[used] -= change
            least[~used[:columns]] -= change
            column = following
        while column != columns:
            owner[column] = owner[came_from[column]]
            column = came_from[column]
    found = np.empty(rows, np.intp)
    for column in range(columns):
        if owner[column] >= 0:
            found[owner[column]] = column
    return found
