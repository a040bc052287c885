"""What a map contains, in words, and what to do about its warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.views.measured import Measured
from scenegraph.graph import SceneGraph
from scenegraph.nodes import RoomNode, TrackNode
from scenegraph.tracks.positions import LEAST_PATH, path_length

NAMED_KINDS = 5
"""Classes of objects that are named in the summary: those that take up most space."""
PLURALS = ("blinds", "books", "clothes", "shelves", "stairs")
NO_NAMES = ("room", "unknown")
"""Labels of rooms of which no more is known."""
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
ADVICE: Mapping[str, str] = {
    "sequence": "frames.csv lists every frame that was not used and why.",
    "check": "Run m2h inspect on the sequence: it shows what was compared, and --fix writes what it would correct.",
    "poses": "Run again with --refine-poses on, or off where the given poses are known to be good.",
    "predict": "Compare the depth and labels in the pictures below with the images.",
    "align": "Look for doubled walls in scene.html; a known length gives --scale, and --refine auto corrects depth.",
    "level": "Look whether the floor is level in scene.html; give the direction by --up x,y,z if it is not.",
    "fuse": "Look for holes and doubled walls in scene.html.",
    "graph": "Compare the plan below with the place; heights and doors show a wrong unit first.",
}
"""What to do about a warning of a stage that does not say so itself."""
OTHER_WORDS = {"otherprop": "other thing", "otherfurniture": "other furniture", "otherstructure": "other structure"}
HINTS = ("--", "check ", "m2h ", "frames.csv", "lists them")
"""What a warning contains that says what to do."""


def sentences(graph: SceneGraph, measured: Measured) -> list[str]:
    """What was found, in two sentences: the place, and what is in it."""
    rooms, storeys = graph.nodes("room"), graph.nodes("storey")
    place = "One storey" if len(storeys) < 2 else f"{_number(len(storeys)).capitalize()} storeys"
    areas = [measured.areas[key] for key, _ in rooms]
    known = [area for area in areas if area is not None]
    extent = f" with {sum(known):.0f} m² of floor" if known else ""
    if len(known) < len(areas) and known:
        extent += f" in {_number(len(known))} of them"
    if rooms:
        named = Counter(words(room.label) for _, room in rooms if room.label not in NO_NAMES)
        names = f": {_listed(_counts(named))}" if named else ""
        first = f"{place} of {_counted(len(rooms), 'room')}{extent}{names}."
    else:
        first = f"{place}, in which no room was closed off."
    return [first, _contents(graph)]


def _contents(graph: SceneGraph) -> str:
    objects, tracks = graph.nodes("object"), graph.nodes("track")
    kinds = Counter(words(node.label) for _, node in objects if not is_uninformative_label(node.label))
    sizes = dict.fromkeys(kinds, 0.0)
    for _, node in objects:
        if not is_uninformative_label(node.label):
            sizes[words(node.label)] += float(np.prod(node.box.size))
    moving = _movers([node for _, node in tracks])
    if not objects:
        return f"No objects were found{moving}."
    if not kinds:
        return f"{_counted(len(objects), 'object').capitalize()} without names stand in it{moving}."
    largest = sorted(kinds, key=lambda kind: (-sizes[kind], kind))[:NAMED_KINDS]
    common = _listed(_counts({kind: kinds[kind] for kind in largest}))
    among = "" if sum(kinds[kind] for kind in largest) == len(objects) else "among them "
    return f"It contains {_counted(len(objects), 'object')}, {among}{common}{moving}."


def _movers(tracks: Sequence[TrackNode]) -> str:
    """What moved, and what of a label that moves was seen without moving: it may as well be a picture of it."""
    moved = Counter(words(node.label) for node in tracks if path_length(node) >= LEAST_PATH)
    still = Counter(words(node.label) for node in tracks if path_length(node) < LEAST_PATH)
    text = f"; {_listed(_counts(moved))} moved through it" if moved else ""
    return text + (f"; {_listed(_counts(still))} stayed in one place" if still else "")


def advice_of(stage: str, warning: str) -> str:
    """What to do about a warning, empty where it says so itself."""
    return "" if any(hint in warning for hint in HINTS) else ADVICE.get(stage.rpartition(" ")[2], "")


def warnings_of(stages: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every warning with what to do about it; one that two stages have is there once."""
    found: dict[str, str] = {}
    for name, stage in stages.items():
        for warning in stage["warnings"]:
            found.setdefault(warning, advice_of(name, warning))
    return list(found.items())


def _counts(counts: Mapping[str, int]) -> list[str]:
    """A phrase for each name and how often it is there, common ones first."""
    order = sorted(counts, key=lambda name: (-counts[name], name))
    return [_one(name) if counts[name] == 1 else f"{_number(counts[name])} {_plural(name)}" for name in order]


def _one(name: str) -> str:
    if name in PLURALS:
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _listed(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}" if phrases else ""


def _counted(count: int, name: str) -> str:
    return f"{_number(count)} {name if count == 1 else _plural(name)}"


def _number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def _plural(name: str) -> str:
    if name in PLURALS:
        return name
    if name == "person":
        return "people"
    if name.endswith("f"):
        return f"{name[:-1]}ves"
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    return f"{name[:-1]}ies" if name.endswith("y") and name[-2:-1] not in "aeiou" else f"{name}s"


def words(label: str) -> str:
    """A label as people read it."""
    return OTHER_WORDS.get(label, label.replace("_", " "))


def area_text(room: RoomNode) -> str:
    """The area of a room with its unit, a dash where it was not measured."""
    area = room.measured_area
    return "– m²" if area is None else f"{area:.1f} m²"


def is_uninformative_label(label: str) -> bool:
    """Whether a label is no name of a thing."""
    return label == "unknown" or label.startswith("other")
