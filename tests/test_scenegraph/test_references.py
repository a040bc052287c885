"""Keys, names, labels, plurals, doors and points, as people write them."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import make_object, make_room, small_flat

from scenegraph.references import QueryError, inventory, label_called, point_of, resolve_spots, rooms_called


@pytest.fixture
def flat():
    return small_flat()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("R1", ["R1"]),
        ("o2", ["O2"]),
        ("kitchen", ["R0"]),
        ("the Kitchen", ["R0"]),
        ("chair", ["O1", "O2"]),
        ("chairs", ["O1", "O2"]),
        ("boxes", ["O3"]),
        ("chair in bedroom", ["O2"]),
        ("person", ["T0"]),
        ("people", ["T0"]),
        ("door", ["door R0-R1"]),
        ("doors in the kitchen", ["door R0-R1"]),
        ("1,2.5,-3", ["1,2.5,-3"]),
    ],
)
def test_words(flat, text, expected):
    assert [spot.name for spot in resolve_spots(flat, text)] == expected


@pytest.mark.parametrize("text", ["other furniture", "otherfurniture", "Other_Furniture", "the other-furniture"])
def test_names_are_found_however_they_are_divided(flat, text):
    flat.add(make_object("otherfurniture", [2, 2, 0.5]), parent="R0")
    assert label_called(flat, text) == "otherfurniture"
    assert [spot.name for spot in resolve_spots(flat, text)] == ["O4"]
    flat.add(make_object("night_stand", [3, 2, 0.5]), parent="R0")
    assert label_called(flat, "night stands") == label_called(flat, "nightstand") == "night_stand"
    flat.replace("R1", replace(flat["R1"], label="living_room"))
    assert rooms_called(flat, "livingroom") == rooms_called(flat, "the living room") == ["R1"]


def test_a_door_is_a_metre_above_its_threshold(flat):
    np.testing.assert_allclose(resolve_spots(flat, "door")[0].position, [4, 1.5, 1.0])
    np.testing.assert_allclose(resolve_spots(flat, "person")[0].position, [7, 1.5, 0.9])  # where it was last


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sofa",
            r"no room, object or door 'sofa'.*; there are chair 2, table 1, box 1; rooms are R0 kitchen, R1 bedroom",
        ),
        ("kitchn", "did you mean kitchen"),
        ("chair in garage", "no room 'garage'"),
        ("1,2", "expected a point x,y,z"),
        ("B0", "B0 is a building, which has no position"),
    ],
)
def test_words_without_meaning_are_told_what_there_is(flat, text, message):
    with pytest.raises(QueryError, match=message):
        resolve_spots(flat, text)


def test_classes_and_rooms(flat):
    assert [label_called(flat, name) for name in ("Chairs", "night stand", "shelves", "tv", "fridge", "couch")] == [
        "chair",
        "night_stand",
        "shelves",
        "television",
        "refrigerator",
        "sofa",
    ]
    with pytest.raises(QueryError, match=r"no class 'chiar' .* did you mean chair\?; there are chair 2"):
        label_called(flat, "chiar")
    flat.add(make_room("kitchen", 0, 3, 4, 6), parent="F0")
    assert rooms_called(flat, "kitchens") == ["R0", "R2"]
    assert rooms_called(flat, "r1") == ["R1"]


def test_what_there_is_in_a_room(flat):
    flat.add(make_object("night_stand", [6, 2, 0.3]), parent="R1")
    assert inventory(flat, ["R1"]) == "R1 bedroom has chair 1, night stand 1"
    flat.add(make_room("hallway", 0, 3, 4, 6), parent="F0")
    assert inventory(flat, ["R2"]) == "R2 hallway has no objects"


def test_points_are_numbers():
    np.testing.assert_array_equal(point_of(" 1, 2,3e-1"), [1, 2, 0.3])
    with pytest.raises(QueryError, match="expected a point"):
        point_of("1,2,nan")
