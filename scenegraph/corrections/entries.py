"""The corrections file: what a user says of objects, rooms and tracks, which are named by where they are.

Keys such as O4 change when a map is built again, so an entry names an object by a point in the world of the input, which does not
change, and its label then. One entry is a mapping of one kind:

    corrections:
      - rename: {object: chair, at: [1.2, 0.4, 0.5], to: sofa}
      - rename: {room: bedroom, at: [3.0, 1.0, 1.2], to: study}
      - merge: {objects: [{object: table, at: [0, 0, 0.7]}, {object: table, at: [0.9, 0, 0.7]}]}
      - split: {object: chair, at: [2.0, 1.0, 0.5], into: [[1.8, 1.0, 0.5], [2.3, 1.0, 0.5]]}
      - room: {object: lamp, at: [1, 1, 1.5], to: {room: kitchen, at: [1, 2, 1.2]}}
      - delete: {object: box, at: [4, 1, 0.2]}
      - delete: {track: person, at: [2, 3, 0.9]}
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from mapping.files import write_text_atomic
from mapping.reading.documents import read_yaml
from mapping.reading.files import shown
from scenegraph.files import json_values as values
from scenegraph.files.json_values import GraphFormatError

Array = NDArray[np.float64]
Layer = Literal["object", "room", "track"]
Kind = Literal["rename", "merge", "split", "room", "delete"]

CORRECTIONS_FILE = "corrections.yaml"
DECIMALS = 3
LONGEST_NAME = 100
HEADER = "# Corrections of this map, applied whenever its graph is built; `m2h correct` writes them, positions are the input's.\n"


class CorrectionError(ValueError):
    """A corrections file that cannot be read, or a correction that cannot be made; the message names the file and the entry."""


@dataclass(frozen=True, eq=False)
class Anchor:
    """What an entry is about: an object, a room or a track of this label at a point (3,) of the input's world; of a track, that
    where it was seen first."""

    layer: Layer
    label: str
    at: Array

    def to_data(self) -> dict[str, Any]:
        """As in the file."""
        return {self.layer: self.label, "at": [round(float(x), DECIMALS) for x in self.at]}

    def __str__(self) -> str:
        return f"{self.label} at ({', '.join(f'{x:.2f}' for x in self.at)})"


@dataclass(frozen=True, eq=False)
class Correction:
    """One entry: its kind, what it is about, the new name of `rename`, the points (N, 3) of `split`, the room of `room`."""

    kind: Kind
    about: tuple[Anchor, ...]
    name: str = ""
    points: Array | None = None
    room: Anchor | None = None

    def to_data(self) -> dict[str, Any]:
        """As in the file."""
        if self.kind == "merge":
            return {"merge": {"objects": [anchor.to_data() for anchor in self.about]}}
        data = self.about[0].to_data()
        if self.kind == "rename":
            data["to"] = self.name
        elif self.points is not None:
            data["into"] = np.round(self.points, DECIMALS).tolist()
        elif self.room is not None:
            data["to"] = self.room.to_data()
        return {self.kind: data}

    def __str__(self) -> str:
        text = f"{self.kind} {', '.join(map(str, self.about))}"
        if self.kind == "rename":
            return f"{text} to {self.name}"
        if self.points is not None:
            return f"{text} into {len(self.points)}"
        return text if self.room is None else f"{text} to {self.room}"


def load_corrections(path: Path) -> list[Correction]:
    """The entries of a file, none where there is no file; raises CorrectionError that names the entry and its field."""
    if not path.exists():
        return []
    data = read_yaml(path, CorrectionError)
    if data is None:
        return []
    if not isinstance(data, dict) or set(data) != {"corrections"} or not isinstance(data["corrections"], list | None):
        raise CorrectionError(f"{path}: expected `corrections:` and a list, got {shown(data)}")
    try:
        return [_entry(entry, f"{path}: corrections[{k}]") for k, entry in enumerate(data["corrections"] or [])]
    except GraphFormatError as error:
        raise CorrectionError(str(error)) from error


def save_corrections(path: Path, corrections: Sequence[Correction]) -> None:
    """Write a file that `load_corrections` reads."""
    data = {"corrections": [correction.to_data() for correction in corrections]}
    write_text_atomic(path, HEADER + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None))


def _entry(data: object, where: str) -> Correction:
    if not isinstance(data, dict) or len(data) != 1:
        raise CorrectionError(f"{where}: expected one of {', '.join(READERS)}, got {shown(data)}")
    ((kind, fields),) = data.items()
    if kind not in READERS:
        near = difflib.get_close_matches(str(kind), READERS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise CorrectionError(f"{where}: expected one of {', '.join(READERS)}, got {shown(kind)}{hint}")
    where = f"{where}.{kind}"
    return READERS[kind](values.mapping(fields, where), where)


def _fields(data: dict[str, Any], names: tuple[str, ...], where: str) -> None:
    """Raise CorrectionError unless the mapping has exactly these fields; `object` may be `room` where both are given with |."""
    wanted = [name.split("|") for name in names]
    known = [name for group in wanted for name in group]
    for name in data:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise CorrectionError(f"{where}: unknown field {shown(name)}{hint}")
    for group in wanted:
        if sum(name in data for name in group) != 1:
            raise CorrectionError(f"{where}: expected {' or '.join(group)}, once")


def _anchor(data: dict[str, Any], layer: Layer, where: str) -> Anchor:
    return Anchor(layer, values.text(data[layer], f"{where}.{layer}"), values.array(data["at"], f"{where}.at", (3,)))


def _read_rename(data: dict[str, Any], where: str) -> Correction:
    _fields(data, ("object|room", "at", "to"), where)
    name = values.text(data["to"], f"{where}.to")
    if not (name.isprintable() and len(name) <= LONGEST_NAME):
        raise CorrectionError(
            f"{where}.to: expected a printable name of up to {LONGEST_NAME} characters, got {shown(name)}"
        )
    return Correction("rename", (_anchor(data, "room" if "room" in data else "object", where),), name)


def _read_merge(data: dict[str, Any], where: str) -> Correction:
    _fields(data, ("objects",), where)
    entries = values.sequence(data["objects"], f"{where}.objects")
    if len(entries) < 2:
        raise CorrectionError(f"{where}.objects: expected at least two objects, got {len(entries)}")
    anchors = []
    for number, entry in enumerate(entries):
        at = f"{where}.objects[{number}]"
        _fields(values.mapping(entry, at), ("object", "at"), at)
        anchors.append(_anchor(entry, "object", at))
    return Correction("merge", tuple(anchors))


def _read_split(data: dict[str, Any], where: str) -> Correction:
    _fields(data, ("object", "at", "into"), where)
    points = values.array(data["into"], f"{where}.into", (None, 3), minimum=2)
    return Correction("split", (_anchor(data, "object", where),), points=points)


def _read_room(data: dict[str, Any], where: str) -> Correction:
    _fields(data, ("object", "at", "to"), where)
    room = values.mapping(data["to"], f"{where}.to")
    _fields(room, ("room", "at"), f"{where}.to")
    return Correction("room", (_anchor(data, "object", where),), room=_anchor(room, "room", f"{where}.to"))


def _read_delete(data: dict[str, Any], where: str) -> Correction:
    _fields(data, ("object|track", "at"), where)
    return Correction("delete", (_anchor(data, "track" if "track" in data else "object", where),))


READERS: dict[str, Callable[[dict[str, Any], str], Correction]] = {
    "rename": _read_rename,
    "merge": _read_merge,
    "split": _read_split,
    "room": _read_room,
    "delete": _read_delete,
}
"""How the entries of each kind are read."""
