import pytest
from apartments import LABELS

from scenegraph.rooms.names import VOTES, name_room


@pytest.mark.parametrize(
    ("objects", "doors", "elongation", "area", "name"),
    [
        (["toilet", "sink", "mirror", "towel"], 1, 1.2, 5, "bathroom"),
        (["refrigerator", "cabinet", "cabinet", "sink", "counter", "table", "chair"], 1, 1.2, 10, "kitchen"),
        (["bed", "night_stand", "lamp", "dresser", "pillow"], 1, 1.3, 14, "bedroom"),
        (["sofa", "table", "television", "lamp", "bookshelf"], 2, 1.2, 22, "living_room"),
        (["table", "chair", "chair", "chair", "chair"], 1, 1.2, 12, "dining_room"),
        (["desk", "chair", "bookshelf", "books", "television"], 1, 1.2, 10, "office"),
        (["shelves", "box", "box", "box"], 1, 1.2, 3, "storage"),
        (["clothes", "mirror"], 5, 4.0, 10, "hallway"),
        ([], 4, 1.0, 8, "hallway"),
        ([], 1, 1.0, 12, "room"),
        (["unknown", "unknown"], 1, 1.0, 30, "room"),
    ],
)
def test_rooms_are_named_by_what_they_hold(objects, doors, elongation, area, name):
    label, scores = name_room(objects, doors=doors, elongation=elongation, area=area)
    assert label == name
    assert sum(scores.values()) == pytest.approx(1.0, abs=2e-3)
    assert max(scores, key=scores.get) == name


@pytest.mark.parametrize(
    ("objects", "name"),
    [
        (["bed"], "room"),
        (["bed", "bed", "bed"], "room"),
        (["bed", "night_stand"], "bedroom"),
        (["bed", "pillow", "sofa", "television", "counter"], "room"),
        (["refrigerator", "counter", "chair"], "kitchen"),
        ([], "room"),
    ],
)
def test_predicted_objects_name_a_room_only_where_several_classes_agree(objects, name):
    label, scores = name_room(objects, doors=1, elongation=1.0, area=10, predicted=True)
    assert label == name
    assert sum(scores.values()) == pytest.approx(1.0, abs=2e-3)
    assert max(scores, key=scores.get) == name


def test_a_hallway_is_known_by_its_shape_whatever_predicts_its_objects():
    assert name_room([], doors=4, elongation=1.0, area=8, predicted=True)[0] == "hallway"
    assert name_room([], doors=2, elongation=3.0, area=8, predicted=True)[0] == "hallway"
    # A bathroom of which nothing was recognised has two doors, too.
    assert name_room([], doors=2, elongation=1.2, area=7)[0] == "hallway"
    assert name_room([], doors=2, elongation=1.2, area=7, predicted=True)[0] == "room"
    assert name_room([], doors=1, elongation=3.0, area=7, predicted=True)[0] == "room"
    furnished = ["table", "chair", "cabinet"]
    assert name_room(furnished, doors=5, elongation=1.0, area=12)[0] == "hallway"
    assert name_room(furnished, doors=5, elongation=1.0, area=12, predicted=True)[0] == "room"


def test_only_classes_of_the_label_space_vote():
    assert {name for votes in VOTES.values() for name in votes} <= set(LABELS.names)
