"""Questions in plain English, what is understood, and the answers."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import make_object, small_flat

from scenegraph.ask import EXAMPLES, Question, answered, nothing_found, position_text, understood
from scenegraph.nodes import AgentNode, RoomNode, TrackNode
from scenegraph.references import QueryError


@pytest.fixture
def flat():
    return small_flat()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where are the chairs in the kitchen?", {"kind": "where", "label": "chair", "room": "kitchen"}),
        ("where's the table", {"kind": "where", "label": "table"}),
        ("find a chair near the door", {"kind": "where", "label": "chair", "near": "door", "radius": 2.0}),
        (
            "show me everything within 1.5 m of the table",
            {"kind": "where", "label": None, "near": "table", "radius": 1.5},
        ),
        ("how many chairs are there?", {"kind": "count", "label": "chair", "room": None}),
        ("How many chairs are in the bedroom", {"kind": "count", "label": "chair", "room": "bedroom"}),
        ("What is in the bedroom?", {"kind": "contents", "room": "bedroom", "label": None}),
        ("what's on the table?", {"kind": "on", "goal": "table"}),
        ("is there a sofa in the kitchen", {"kind": "is there", "label": "sofa", "room": "kitchen"}),
        ("where was the person at 12 s?", {"kind": "where", "label": "person", "time": 12.0}),
        ("who was in the kitchen at 1.5 seconds", {"kind": "where", "label": "person", "room": "kitchen", "time": 1.5}),
        ("which room is the table in?", {"kind": "where", "label": "table"}),
        ("which rooms are there?", {"kind": "rooms"}),
        ("What moved?", {"kind": "moved", "room": None, "time": None}),
        ("who has been walking around", {"kind": "moved"}),
        ("did anything move in the kitchen?", {"kind": "moved", "room": "kitchen"}),
        ("what was moving at 1.5 s", {"kind": "moved", "time": 1.5}),
        ("how many rooms are there", {"kind": "rooms"}),
        ("how big is the kitchen?", {"kind": "size", "goal": "kitchen"}),
        ("How far is the table from the door?", {"kind": "distance", "start": "table", "goal": "door"}),
        ("how do I get from the bedroom to the kitchen?", {"kind": "path", "start": "bedroom", "goal": "kitchen"}),
        ("how do I get to the kitchen from the bedroom?", {"kind": "path", "start": "bedroom", "goal": "kitchen"}),
        (
            "show the way from R0 to the chair in the bedroom",
            {"kind": "path", "start": "r0", "goal": "chair in the bedroom"},
        ),
    ],
)
def test_what_is_understood(flat, text, expected):
    question = understood(flat, text)
    assert {name: getattr(question, name) for name in expected} == expected


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_are_understood(flat, text):
    flat.add(make_object("bed", [6, 2, 0.3]), parent="R1")
    question = understood(flat, text)
    if question.kind != "path":
        assert answered(flat, question).lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("what is the meaning of life", "is not understood; ask, for example: where are the chairs"),
        ("where are the unicorns", "no class 'unicorns'"),
        ("where are the chairs in the garage", "no room 'garage'.*rooms are R0 kitchen, R1 bedroom"),
        ("is there a chair near the unicorn", "no room, object or door 'unicorn'"),
    ],
)
def test_what_is_not_understood_is_said(flat, text, message):
    with pytest.raises(QueryError, match=message):
        understood(flat, text)


def answer(flat, text):
    return answered(flat, understood(flat, text))


def test_answers(flat):
    found = answer(flat, "where are the chairs in the kitchen?")
    assert [hit.key for hit in found.hits] == ["O1"]
    assert "R0 kitchen" in found.lines[0]
    assert "0.60 x 0.50 x 1.00 m" in found.lines[0]
    assert answer(flat, "how many chairs are there?").value == 2
    assert [hit.key for hit in answer(flat, "what is on the table").hits] == ["O3"]
    assert answer(flat, "is there a chair in the bedroom").lines[0] == "yes"
    assert {hit.key for hit in answer(flat, "what is in the kitchen").hits} == {"O0", "O1", "O3"}
    assert [hit.key for hit in answer(flat, "where was the person at 1.5 s").hits] == ["T0"]
    assert [hit.key for hit in answer(flat, "list chairs within 1.5 m of the table").hits] == ["O1"]
    assert answer(flat, "which rooms are there").lines[0] == "2"
    assert answer(flat, "how far is the table from the box").value == 0  # the box stands in the table's box
    assert answer(flat, "how far is the bedroom from the door").value == pytest.approx(2.016, abs=0.01)


def test_no_and_what_there_is_instead(flat):
    found = answer(flat, "is there a sofa in the kitchen?")
    assert found.lines == ("no", "nothing found: no sofa in R0 kitchen; R0 kitchen has table 1, chair 1, box 1")
    assert answer(flat, "what is on the chair").lines == ("nothing found on chair",)
    far = Question("where", label="sofa", near="door", radius=float("inf"))
    assert nothing_found(flat, far).startswith("nothing found: no sofa near door; there are")


def test_the_nearest_sighting_of_what_was_not_seen_then(flat):
    (line,) = answer(flat, "where was the person at 4 s").lines
    assert line.startswith("nothing found: no person at 4 s; nearest: T0 person at 2.00 s, in R0 (3.00, 1.50, 0.90)")


def test_what_moved_and_what_came_and_went(flat):
    found = answer(flat, "what moved?")
    assert [hit.key for hit in found.hits] == ["T0", "O1", "O2"]
    assert "seen 0.0 to 6.0 s, 2.0 m of path" in found.lines[0]
    assert found.lines[2].endswith("there 0.0 to 2.0 s, 6.0 to 9.0 s")
    assert [hit.key for hit in answer(flat, "what moved in the bedroom").hits] == ["T0", "O2"]
    assert [hit.key for hit in answer(flat, "what was moving at 1.5 s").hits] == ["T0"]
    for key in ("O1", "O2", "T0"):
        flat.remove(key)
    assert answer(flat, "what moved?").lines == ("nothing moved, as far as the map shows",)


def test_what_moves_is_found_by_its_class(flat):
    found = answer(flat, "where are the people?")
    assert [hit.key for hit in found.hits] == ["T0"]
    assert "R1 bedroom" in found.lines[0]
    assert answer(flat, "how many people are in the kitchen").value == 1


def test_times_count_from_the_first_frame(flat):
    """The recording's clock begins at 1000 s."""
    for key, node in [*flat.nodes("agent"), *flat.nodes("track"), *flat.nodes("object")]:
        if isinstance(node, AgentNode):
            flat.replace(key, replace(node, time=node.time + 1000))
        elif isinstance(node, TrackNode):
            flat.replace(key, replace(node, times=node.times + 1000))
        else:
            flat.replace(key, replace(node, presence=tuple((a + 1000, b + 1000) for a, b in node.presence)))
    assert [hit.key for hit in answer(flat, "where was the person at 1.5 s").hits] == ["T0"]
    assert "nearest: T0 person at 2.00 s" in answer(flat, "where was the person at 4 s").lines[0]
    assert "seen 0.0 to 6.0 s" in answer(flat, "what moved?").lines[0]


def test_zero_has_no_sign():
    assert position_text(np.array([-0.001, 1.005, -1.2])) == "0.00, 1.00, -1.20"


def test_sizes_that_were_not_measured_are_not_told(flat):
    assert answer(flat, "how big is the kitchen").lines == ("R0 kitchen: 12.0 m2, 2.50 m high",)
    room = flat["R0"]
    unseen = RoomNode(
        "office", room.position, room.polygon, room.z_range, room.area, {}, {"ceiling_seen": 0.0, "floor_seen": 0.1}
    )
    flat.add(unseen, parent="F0")
    assert answer(flat, "how high is the office").lines == ("R2 office: area not measured, height not measured",)
    assert answer(flat, "how big is the table").lines == ("O0 table: 1.20 x 0.80 x 0.80 m",)
