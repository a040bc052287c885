"""What people's words mean in a scene graph: keys, room names, labels, doors, and points."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenegraph.graph import SceneGraph
from scenegraph.nodes import AgentNode, ObjectNode, OrientedBox, PlaceNode, RoomNode, TrackNode

Array = NDArray[np.float64]

SYNONYMS = {
    "armchair": "chair",
    "bookcase": "bookshelf",
    "couch": "sofa",
    "cupboard": "cabinet",
    "fridge": "refrigerator",
    "human": "person",
    "humans": "person",
    "nightstand": "night_stand",
    "other_thing": "otherprop",
    "painting": "picture",
    "people": "person",
    "somebody": "person",
    "someone": "person",
    "settee": "sofa",
    "tv": "television",
    "wardrobe": "cabinet",
    "who": "person",
}
"""Words for classes of NYU40, where a label space has no such name of its own."""
ARTICLES = ("the", "a", "an", "any", "some", "all", "every")
DOOR_HEIGHT = 1.0
"""Metres above the floor at which a door is, when it is asked how far things are from it."""
MOST_LISTED = 12


class QueryError(ValueError):
    """Raised for a query without an answer: an unknown label, room or node, or no path between two places."""


@dataclass(frozen=True, eq=False)
class Spot:
    """Something with a position (3,) that words mean: a node by its key, or a door or a point without one; objects have a box."""

    name: str
    position: Array
    key: str | None = None
    box: OrientedBox | None = None

    def nearest_to(self, point: Array) -> Array:
        """The point (3,) of it that is nearest to another."""
        if self.box is None:
            return self.position
        local = (point - self.box.center) @ self.box.rotation
        half = self.box.size / 2
        return np.asarray(self.box.center + self.box.rotation @ np.clip(local, -half, half))


def resolve_spots(graph: SceneGraph, text: str) -> list[Spot]:
    """What a text means: a point `x,y,z`, a key (`R0`), a room's name, a label, `door`, or a label `in` a room.

    A key is one thing, a name may be several. Raises QueryError that lists what there is.
    """
    if "," in text:
        return [Spot(text, point_of(text))]
    key = text.strip().upper()
    if key in graph:
        return [_spot(graph, key)]
    name, within, room = text.partition(" in ")
    wanted = set(rooms_called(graph, room)) if within else None
    word = without_article(name)
    found = [key for key, node in graph.nodes("room") if not within and is_same_name(word, node.label)]
    if not found:
        named = {node.label for layer in ("object", "track") for _, node in graph.nodes(layer)}
        label = _label_among(word, named)
        found = [k for layer in ("object", "track") for k, node in graph.nodes(layer) if node.label == label]
        found = [k for k in found if wanted is None or graph.ancestor(k, "room") in wanted]
    result = [_spot(graph, k) for k in found]
    if not result and "door" in spellings(word):
        result = doors(graph, wanted)
    if not result:
        raise QueryError(
            f"no room, object or door {text!r} in the scene graph{_suggestion(graph, word)}; {inventory(graph)}"
        )
    return result


def point_of(text: str) -> Array:
    """The point (3,) of `x,y,z`; raises QueryError."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise QueryError(f"{text}: expected a point x,y,z in metres")
    return np.array(numbers)


def doors(graph: SceneGraph, rooms: set[str] | None = None) -> list[Spot]:
    """The doors between rooms, of some rooms only on request."""
    found = []
    for edge in graph.edges("room_edge"):
        at = edge.attributes.get("door")
        if at is not None and (rooms is None or {edge.source, edge.target} & rooms):
            position = np.asarray(at, dtype=np.float64) + np.array([0, 0, DOOR_HEIGHT])
            found.append(Spot(f"door {edge.source}-{edge.target}", position))
    return found


def rooms_called(graph: SceneGraph, text: str) -> list[str]:
    """Keys of the rooms that a key or a name means; raises QueryError that lists the rooms."""
    word = without_article(text)
    found = [key for key, node in graph.nodes("room") if key == text.strip().upper() or is_same_name(word, node.label)]
    if not found:
        raise QueryError(f"no room {text!r} in the scene graph{_suggestion(graph, word)}; {room_list(graph)}")
    return found


def label_called(graph: SceneGraph, text: str) -> str:
    """The class that a word means, in the singular or the plural; raises QueryError for one that the label space lacks."""
    known = {*graph.label_space.names, *(n.label for layer in ("object", "track") for _, n in graph.nodes(layer))}
    label = _label_among(without_article(text), known)
    if label is None:
        raise QueryError(
            f"no class {text!r} in label space {graph.label_space.name}{did_you_mean(text, sorted(known))}; {inventory(graph)}"
        )
    return label


def spellings(word: str) -> list[str]:
    """How a word may be written in a graph: itself, then without the ending of a plural."""
    written = "_".join(word.lower().replace("_", " ").split())
    forms = [written]
    for ending, instead in (("ies", "y"), ("ves", "f"), ("es", ""), ("s", "")):
        if written.endswith(ending) and len(written) > len(ending) + 1:
            forms.append(written.removesuffix(ending) + instead)
    return forms


def is_same_name(word: str, name: str) -> bool:
    """Whether a word is a name, in the singular or the plural, however either is divided: "other furniture", otherfurniture."""
    return _undivided(name) in map(_undivided, spellings(word))


def start_time(graph: SceneGraph) -> float:
    """The time of the first camera pose in the recording's clock, from which people count seconds; 0 without poses."""
    return min((float(node.time) for _, node in graph.nodes("agent")), default=0.0)


def without_article(text: str) -> str:
    """The words of a text without an article before them."""
    words = text.strip().split()
    while len(words) > 1 and words[0].lower() in ARTICLES:
        words = words[1:]
    return " ".join(words)


def inventory(graph: SceneGraph, rooms: Iterable[str] | None = None) -> str:
    """What there is, by class and number, in the whole map or in some rooms."""
    wanted = None if rooms is None else set(rooms)
    inside = [
        (key, node) for key, node in graph.nodes("object") if wanted is None or graph.ancestor(key, "room") in wanted
    ]
    counts = Counter(node.label.replace("_", " ") for _, node in inside)
    things = ", ".join(f"{label} {count}" for label, count in counts.most_common(MOST_LISTED)) or "no objects"
    more = ", ..." if len(counts) > MOST_LISTED else ""
    if wanted is not None:
        names = ", ".join(room_name(graph, key) for key, _ in graph.nodes("room") if key in wanted)
        return f"{names} has {things}{more}"
    return f"there are {things}{more}; {room_list(graph)}"


def room_list(graph: SceneGraph) -> str:
    """The rooms with their names."""
    rooms = [room_name(graph, key) for key, _ in graph.nodes("room")]
    more = ", ..." if len(rooms) > MOST_LISTED else ""
    return f"rooms are {', '.join(rooms[:MOST_LISTED])}{more}" if rooms else "there are no rooms"


def room_name(graph: SceneGraph, key: str) -> str:
    """A room's key and name."""
    node = graph[key]
    return f"{key} {node.label.replace('_', ' ')}" if isinstance(node, RoomNode) else key


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question whether the nearest known name was meant; empty when none is near."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def _label_among(word: str, known: Iterable[str]) -> str | None:
    names = {_undivided(name): name for name in sorted(known)}
    forms = spellings(word)
    forms += [SYNONYMS[form] for form in forms if form in SYNONYMS]
    return next((names[_undivided(form)] for form in forms if _undivided(form) in names), None)


def _undivided(name: str) -> str:
    """A name without what stands between its words."""
    return "".join(character for character in name.lower() if character not in " _-")


def _suggestion(graph: SceneGraph, word: str) -> str:
    names = {node.label for layer in ("room", "object", "track") for _, node in graph.nodes(layer)}
    return did_you_mean(spellings(word)[0], sorted(names))


def _spot(graph: SceneGraph, key: str) -> Spot:
    node = graph[key]
    if isinstance(node, TrackNode):
        return Spot(key, np.asarray(node.positions[-1], dtype=np.float64), key)
    if isinstance(node, ObjectNode):
        return Spot(key, np.asarray(node.position, dtype=np.float64), key, node.box)
    if isinstance(node, RoomNode | PlaceNode | AgentNode):
        return Spot(key, np.asarray(node.position, dtype=np.float64), key)
    raise QueryError(f"{key} is a {node.layer}, which has no position")
