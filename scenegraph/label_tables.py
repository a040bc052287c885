"""From other label spaces to NYU40: by the tables of the label space files, or by the names that a network gives its classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from scenegraph.labels import NYU40_NAMES, LabelSpace, known_label_spaces, load_label_space

LEAST_KNOWN = 0.9
"""Share of a network's class names that a label space has, if the network was trained on it."""


@dataclass(frozen=True, eq=False)
class NamedTable:
    """What the outputs of a network are in NYU40.

    ids (n,) uint8 by output, 0 where NYU40 has no such class. `space` is the label space that has the names, empty where they are
    of none and were looked up one by one; `foreign` are those that no label space has.
    """

    ids: NDArray[np.uint8]
    space: str
    foreign: tuple[str, ...]


def table_to_nyu40(space: LabelSpace) -> NDArray[np.uint8]:
    """(highest id + 1,) ids of NYU40 by ids of the space, 0 for classes without one. NYU40 is mapped to itself."""
    table = np.zeros(max(space.by_id) + 1, np.uint8)
    for entry in space.classes:
        if space.name == "nyu40":
            table[entry.id] = entry.id
        elif entry.nyu40:
            table[entry.id] = NYU40_NAMES.index(entry.nyu40)
    return table


def spelled(name: str) -> str:
    """A class name as label space files write it: the first of several, in small letters, with _ for what is no letter."""
    first = re.split(r"[,;/]", name.strip())[0]
    return re.sub(r"[^a-z0-9]+", "_", first.lower()).strip("_")


def nyu40_of_names(names: Sequence[str]) -> NamedTable:
    """What classes of these names are in NYU40.

    The names are those of the label space that has most of them; where none has nine tenths, each is looked up in NYU40 first and
    then in all the others, and what several of them map differently is unknown.
    """
    asked = [spelled(name) for name in names]
    spaces = _names_by_space()
    known = {space: sum(name in table for name in asked) for space, table in spaces.items()}
    best = max(known, key=lambda space: known[space])
    if known[best] >= LEAST_KNOWN * len(asked):
        table = spaces[best]
    else:
        best, table = "", _common_names()
    ids = np.array([table.get(name, 0) for name in asked], np.uint8)
    foreign = tuple(name for name, key in zip(names, asked, strict=True) if key not in table)
    return NamedTable(ids, best, foreign)


@cache
def _names_by_space() -> dict[str, dict[str, int]]:
    """By the name of each label space: the id in NYU40 of each of its names."""
    found = {}
    for space in map(load_label_space, known_label_spaces()):
        table = table_to_nyu40(space)
        # A name of its own goes before another one that a network may use.
        further = {name: int(table[entry.id]) for entry in space.classes for name in entry.also}
        found[space.name] = further | {entry.name: int(table[entry.id]) for entry in space.classes}
    return found


@cache
def _common_names() -> dict[str, int]:
    """The id in NYU40 of every name that the label spaces have; 0 where they disagree and NYU40 itself does not have it."""
    spaces = _names_by_space()
    common: dict[str, int] = {}
    for table in spaces.values():
        for name, number in table.items():
            common[name] = number if common.get(name, number) == number else 0
    return common | spaces["nyu40"]
