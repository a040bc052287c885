"""Questions in plain English to a scene graph, by rules: what is asked, and the answer from the graph alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenegraph.graph import SceneGraph
from scenegraph.nodes import ObjectNode, RoomNode, TrackNode
from scenegraph.query import Hit, objects, sightings, tracked, tracks
from scenegraph.references import (
    QueryError,
    Spot,
    inventory,
    label_called,
    resolve_spots,
    room_list,
    room_name,
    rooms_called,
    start_time,
    without_article,
)
from scenegraph.tracks.positions import LEAST_PATH, path_length

EXAMPLES = (
    "where are the chairs in the kitchen?",
    "how many tables are there?",
    "what is in the bedroom?",
    "what is on the table?",
    "is there a sofa near the door?",
    "where was the person at 12 s?",
    "what moved?",
    "which rooms are there?",
    "how big is the kitchen?",
    "how far is the bed from the door?",
    "how do I get from the bedroom to the kitchen?",
)
EVERYTHING = {"", "anything", "everything", "object", "objects", "thing", "things", "it", "there"}
BRIEF = 1.0
"""Seconds after the start, or before the end, within which an object counts as there from the start, or to the end."""
NEAR_RADIUS = 2.0
"""Metres within which something is near something else, where a question does not say how far."""
TIME = re.compile(
    r"\s*\b(?:at|after)\s+(?:t\s*=\s*|time\s+|second\s+)?(\d+(?:\.\d+)?)\s*(?:s|sec|secs|second|seconds)?$"
)
NEAR = re.compile(
    r"\s*\b(?:near|close to|next to|beside|around|by|within (\d+(?:\.\d+)?)\s*m(?:et(?:er|re)s?)? (?:of|from))\s+(.+)$"
)
INSIDE = re.compile(r"\s*\b(?:in|inside|within)\s+(.+)$")
GO = r"how (?:do|can|would) (?:i|we|you) (?:get|go|walk)"
THINGS = r"(?:what|which (?:things|objects))"
RULES: tuple[tuple[str, str], ...] = (
    ("path", rf"(?:{GO}|.*\b(?:way|path|route)|go|walk|get|)\s*from (?P<start>.+?) to (?P<goal>.+)"),
    ("path", rf"{GO} to (?P<goal>.+?) from (?P<start>.+)"),
    ("distance", r"how far (?:is|are) (?:it from )?(?P<start>.+?) (?:away )?(?:from|to) (?P<goal>.+)"),
    ("rooms", r"(?:which|what|list|show|how many)(?: all)?(?: the)? rooms?(?: (?:are|is) there| do you know| exist)?"),
    (
        "count",
        r"how many (?P<what>.+?)(?: (?:are|is) (?:there|here))?"
        r"(?P<rest>(?: (?:are|is))? (?:in|inside|near|next to|close to) .+)?",
    ),
    (
        "size",
        r"(?:how (?:big|large|tall|high|wide|long|deep)|what size|what is the (?:size|area|height) of) "
        r"(?:is |are )?(?P<what>.+)",
    ),
    ("on", rf"{THINGS}(?: is|'s|s| are| lies| stands)? on (?:top of )?(?P<what>.+)"),
    (
        "moved",
        r"(?:what|who|which (?:things|objects|people)|did (?:anything|something|anybody|anyone|somebody|someone))"
        r"(?: (?:has|have|had|is|are|was|were|all))*(?: (?:been )?(?:moved?|moves|moving|walked|walks|walking))"
        r"(?: (?:around|about|through|past))?(?: it| here| there)?(?P<what>)(?P<rest> (?:in|inside|at|after) .+)?",
    ),
    ("contents", rf"{THINGS}(?: is|'s|s| are)?(?: there)? (?:in|inside) (?P<what>.+)"),
    ("is there", r"(?:is|are|was|were) there (?P<what>.+)"),
    ("where", r"(?:in )?(?:which|what) room (?:is|are|was|were|has|have|contains?) (?P<what>.+?)(?: in)?"),
    (
        "where",
        r"(?:where(?: is|'s| are| was| were| do i find| can i find)?|find|show me|show|list|give me|look for) (?P<what>.+)",
    ),
    ("where", r"(?P<what>who)(?: is| was| were)?(?: there)?(?P<rest> .+)?"),
    ("where", rf"{THINGS} (?:is|are|was|were) (?P<what>)(?P<rest>(?:near|next to|close to|within) .+)"),
)


@dataclass(frozen=True)
class Question:
    """What is asked: `kind` is that of a rule; the others are as the functions of `query` take them, as far as they are given.
    `time` is in seconds from the first frame."""

    kind: str
    label: str | None = None
    room: str | None = None
    near: str | None = None
    radius: float = NEAR_RADIUS
    time: float | None = None
    start: str = ""
    goal: str = ""

    def text(self) -> str:
        """What was understood, in words."""
        if self.kind in ("path", "distance"):
            return f"{self.kind} from {self.start} to {self.goal}"
        parts = [self.kind, self.label or (self.goal or "everything")]
        parts += [f"in {self.room}"] if self.room else []
        parts += [f"within {self.radius:g} m of {self.near}"] if self.near else []
        return " ".join([*parts, *([f"at {self.time:g} s"] if self.time is not None else [])])


@dataclass(frozen=True)
class Answer:
    """The answer to a question that has no path in it: sentences, and what they are about."""

    lines: tuple[str, ...]
    hits: tuple[Hit, ...] = ()
    value: float | None = None


def understood(graph: SceneGraph, text: str) -> Question:
    """What a question asks of a graph; raises QueryError with questions that are understood, or with what the graph has."""
    asked = re.sub(r"\s+", " ", text.strip().lower().rstrip("?!. ")).removeprefix("please ")
    for kind, pattern in RULES:
        match = re.fullmatch(pattern, asked)
        if match is None:
            continue
        found = {name: value or "" for name, value in match.groupdict().items()}
        if kind in ("path", "distance"):
            return Question(kind, start=without_article(found["start"]), goal=without_article(found["goal"]))
        if kind == "rooms":
            return Question(kind)
        return _described(graph, Question(kind), f"{found['what']} {found.get('rest', '')}".strip())
    raise QueryError(f"{text!r} is not understood; ask, for example: {' / '.join(EXAMPLES)}")


def answered(graph: SceneGraph, question: Question) -> Answer:
    """The answer to any question but one for a path; raises QueryError as the functions of `query` do."""
    if question.kind == "rooms":
        return _rooms(graph)
    if question.kind == "size":
        return _sizes(graph, question)
    if question.kind == "distance":
        return _distance(graph, question)
    if question.kind == "on":
        return _on(graph, question)
    if question.kind == "moved":
        return _moved(graph, question)
    hits = found_hits(graph, question)
    lines = [described(graph, hit) for hit in hits]
    if question.kind == "count":
        count = len(hits)
        return Answer((f"{count}", *lines), tuple(hits), float(count))
    if not hits:
        lines = [nothing_found(graph, question)]
    if question.kind == "is there":
        lines = ["yes" if hits else "no", *lines]
    return Answer(tuple(lines), tuple(hits))


def found_hits(graph: SceneGraph, question: Question) -> list[Hit]:
    """The objects that a question is about; what moves, too, at a time or where it asks for its class."""
    where: dict[str, Any] = {"label": question.label, "room": question.room}
    reach = np.inf if question.near is None else question.radius
    time = _clock(graph, question)
    hits = objects(graph, near=question.near, radius=reach, time=time, **where)
    if time is None and question.near is None and question.label is not None:
        hits += tracked(graph, **where)
    if time is not None:
        moving = tracks(graph, time=time, **where)
        if question.near is not None:
            around = resolve_spots(graph, question.near)
            away = [min(float(np.linalg.norm(s.nearest_to(h.position) - h.position)) for s in around) for h in moving]
            moving = [replace(h, distance=d) for h, d in zip(moving, away, strict=True) if d <= question.radius]
        hits += moving
    return hits


def nothing_found(graph: SceneGraph, question: Question) -> str:
    """That there is nothing, when it was there if it was asked for a time, and what there is instead."""
    what = (question.label or "object").replace("_", " ")
    where = (
        ""
        if question.room is None
        else " in " + ", ".join(room_name(graph, k) for k in rooms_called(graph, question.room))
    )
    reach = "near" if np.isinf(question.radius) else f"within {question.radius:g} m of"
    near = "" if question.near is None else f" {reach} {question.near}"
    when = "" if question.time is None else f" at {question.time:g} s"
    text = f"nothing found: no {what}{where}{near}{when}"
    time = _clock(graph, question)
    if time is not None:
        seen = sightings(graph, time=time, label=question.label, room=question.room)
        if seen:
            first = seen[0]
            at = position_text(first.position)
            label, when = first.label.replace("_", " "), f"{first.time - start_time(graph):.2f} s"
            return f"{text}; nearest: {first.key} {label} at {when}, in {first.room or '-'} ({at})"
    rooms = None if question.room is None else rooms_called(graph, question.room)
    return f"{text}; {inventory(graph, rooms)}"


def described(graph: SceneGraph, hit: Hit) -> str:
    """A hit in one line: key, label, room, position, size, and how far away it is."""
    where = position_text(hit.position)
    node = graph[hit.key]
    size = f"  {size_text(node)}" if isinstance(node, ObjectNode) else ""
    if isinstance(node, TrackNode):
        size = f"  {track_text(graph, node)}"
    away = f"  {hit.distance:.2f} m away" if hit.distance is not None else ""
    room = room_name(graph, hit.room) if hit.room else "-"
    return f"{hit.key:<5} {hit.label.replace('_', ' '):<16} {room:<16} ({where}){size}{away}"


def position_text(position: NDArray[np.float64]) -> str:
    """A point (3,) to a centimetre, without a sign before zeros."""
    return ", ".join(f"{x:.2f}" for x in np.round(position, 2) + 0.0)


def track_text(graph: SceneGraph, node: TrackNode) -> str:
    """When something that moves was seen, and how far it went."""
    times = np.asarray(node.times) - start_time(graph)
    length = path_length(node)
    way = f"{length:.1f} m of path" if length >= LEAST_PATH else "stayed in one place"
    return f"seen {times[0]:.1f} to {times[-1]:.1f} s, {way}"


def size_text(node: ObjectNode) -> str:
    """Length, width and height of an object's box."""
    length, width = sorted(node.box.size[:2].tolist(), reverse=True)
    return f"{length:.2f} x {width:.2f} x {node.box.size[2]:.2f} m"


def _described(graph: SceneGraph, question: Question, text: str) -> Question:
    """The question with what its words say: a time, something near, a room, and a class or something by its key."""
    if (match := TIME.search(text)) is not None:
        question, text = replace(question, time=float(match[1])), text[: match.start()]
    if (match := NEAR.search(text)) is not None:
        near = without_article(match[2])
        resolve_spots(graph, near)
        radius = float(match[1]) if match[1] else NEAR_RADIUS
        question, text = replace(question, near=near, radius=radius), text[: match.start()]
    if question.kind in ("size", "on"):
        return replace(question, goal=without_article(text))
    if question.kind == "contents":
        return replace(question, room=without_article(text), goal="everything")
    if (match := INSIDE.search(text)) is not None:
        room = without_article(match[1])
        if room not in ("building", "house", "flat", "apartment", "map"):
            rooms_called(graph, room)
            question = replace(question, room=room)
        text = text[: match.start()]
    what = without_article(re.sub(r"\b(?:is|are|was|were)$", "", text.strip()).strip())
    return question if what in EVERYTHING else replace(question, label=label_called(graph, what))


def _clock(graph: SceneGraph, question: Question) -> float | None:
    """The time of a question in the recording's clock."""
    return None if question.time is None else question.time + start_time(graph)


def _moved(graph: SceneGraph, question: Question) -> Answer:
    """What moved, and what of the objects was there only for a time."""
    time = _clock(graph, question)
    if time is None:
        hits = tracked(graph, room=question.room)
    else:
        hits = tracks(graph, time=time, room=question.room)
    came = objects(graph, room=question.room) if time is None else []
    first = start_time(graph)
    ends = [node.time for _, node in graph.nodes("agent")] + [node.times[-1] for _, node in graph.nodes("track")]
    last = max(map(float, ends), default=first)
    lines = [described(graph, hit) for hit in hits]
    for hit in came:
        intervals = graph[hit.key].presence  # type: ignore[union-attr]
        if intervals and (len(intervals) > 1 or intervals[0][0] > first + BRIEF or intervals[-1][1] < last - BRIEF):
            there = ", ".join(f"{a - first:.1f} to {b - first:.1f} s" for a, b in intervals)
            lines.append(f"{described(graph, hit)}  there {there}")
            hits.append(hit)
    return Answer(tuple(lines or ("nothing moved, as far as the map shows",)), tuple(hits))


def _rooms(graph: SceneGraph) -> Answer:
    rooms = graph.nodes("room")
    lines = [f"{room_name(graph, key)}: {_room_size(room)}" for key, room in rooms]
    return Answer((str(len(rooms)), *lines) if rooms else (room_list(graph),), value=float(len(rooms)))


def _room_size(room: RoomNode) -> str:
    area, height = room.measured_area, room.measured_height
    area_text = "area not measured" if area is None else f"{area:.1f} m2"
    return f"{area_text}, {'height not measured' if height is None else f'{height:.2f} m high'}"


def _sizes(graph: SceneGraph, question: Question) -> Answer:
    lines = []
    for spot in resolve_spots(graph, question.goal):
        node = None if spot.key is None else graph[spot.key]
        if isinstance(node, RoomNode):
            lines.append(f"{room_name(graph, spot.name)}: {_room_size(node)}")
        elif isinstance(node, ObjectNode):
            lines.append(f"{spot.name} {node.label.replace('_', ' ')}: {size_text(node)}")
    if not lines:
        raise QueryError(f"{question.goal} has no size")
    return Answer(tuple(lines))


def _distance(graph: SceneGraph, question: Question) -> Answer:
    """The distance on a straight line, between the nearest two of what the words mean."""
    starts, goals = resolve_spots(graph, question.start), resolve_spots(graph, question.goal)
    pairs = [(_apart(a, b), a, b) for a in starts for b in goals if a.key is None or a.key != b.key]
    if not pairs:
        raise QueryError(f"{question.start} and {question.goal} are the same")
    apart, a, b = min(pairs, key=lambda pair: pair[0])
    return Answer((f"{apart:.2f} m on a straight line between {a.name} and {b.name}",), value=apart)


def _apart(a: Spot, b: Spot) -> float:
    """Metres between two things: from the one's nearest point to the other's middle, and back."""
    near = b.nearest_to(a.position)
    return float(np.linalg.norm(a.nearest_to(near) - near))


def _on(graph: SceneGraph, question: Question) -> Answer:
    below = {spot.key for spot in resolve_spots(graph, question.goal)}
    keys = [edge.source for edge in graph.edges("on") if edge.target in below]
    hits = [hit for hit in objects(graph) if hit.key in keys]
    lines = [described(graph, hit) for hit in hits] or [f"nothing found on {question.goal}"]
    return Answer(tuple(lines), tuple(hits))
