"""Classes of other label spaces, and of networks by their names, in NYU40."""

import numpy as np
import pytest

from scenegraph.label_tables import nyu40_of_names, spelled, table_to_nyu40
from scenegraph.labels import known_label_spaces, load_label_space, nyu40

NYU40 = nyu40()


def names_of(ids):
    return [NYU40.name_of(int(number)) for number in ids]


def test_all_that_are_asked_for_are_there():
    sizes = {name: len(load_label_space(name).classes) - 1 for name in known_label_spaces()}
    assert sizes == {"nyu40": 40, "ade20k": 150, "coco": 133, "scannet20": 20, "nyu13": 13, "cityscapes19": 19}


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (
            "ade20k",
            {1: "wall", 4: "floor", 6: "ceiling", 9: "window", 13: "person", 32: "chair", 3: "unknown", 71: "counter"},
        ),
        (
            "coco",
            {1: "person", 57: "chair", 58: "sofa", 63: "television", 116: "window", 132: "wall", 133: "floor_mat"},
        ),
        ("scannet20", {1: "wall", 15: "refrigerator", 20: "otherfurniture"}),
        ("nyu13", {4: "chair", 6: "otherfurniture", 12: "wall"}),
        ("cityscapes19", {1: "unknown", 12: "person", 13: "person", 14: "unknown"}),
    ],
)
def test_published_numbers_become_classes_of_nyu40(space, expected):
    table = table_to_nyu40(load_label_space(space))
    assert table[0] == 0
    assert {number: NYU40.name_of(int(table[number])) for number in expected} == expected


def test_what_moves_and_what_is_of_the_building_stays_so():
    for name in known_label_spaces():
        space = load_label_space(name)
        for entry, target in zip(space.classes, table_to_nyu40(space)[[c.id for c in space.classes]], strict=True):
            if target and entry.kind == "dynamic":
                assert NYU40.by_id[target].kind == "dynamic", entry
            if target and entry.kind == "object":
                assert NYU40.by_id[target].kind != "dynamic", entry


def test_nyu40_is_itself():
    np.testing.assert_array_equal(table_to_nyu40(NYU40), np.arange(41))


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("bed ", "bed"),
        ("windowpane, window ", "windowpane"),
        ("door-stuff", "door_stuff"),
        ("CRT screen", "crt_screen"),
    ],
)
def test_spelling(given, written):
    assert spelled(given) == written


def test_names_of_a_checkpoint_tell_its_label_space():
    space = load_label_space("ade20k")
    stated = [c.name.replace("_", " ") for c in space.classes[1:]]
    stated[8], stated[89] = "window ", "tv"  # as panoptic checkpoints call them
    found = nyu40_of_names(stated)
    assert (found.space, found.foreign) == ("ade20k", ())
    assert names_of(found.ids[[0, 8, 89, 2]]) == ["wall", "window", "television", "unknown"]
    coco = [c.name.replace("_merged", "-merged").replace("_", "-") for c in load_label_space("coco").classes[1:]]
    assert nyu40_of_names(coco).space == "coco"


def test_names_of_no_label_space_are_looked_up_one_by_one():
    found = nyu40_of_names(["background", "Sofa", "forklift", "couch", "shelf", "bookshelf"])
    assert found.space == ""
    assert names_of(found.ids) == ["unknown", "sofa", "unknown", "sofa", "shelves", "bookshelf"]
    assert found.foreign == ("background", "forklift")


def test_what_label_spaces_disagree_on_is_unknown():
    """`bicycle` is a thing in ADE20K and COCO, and nothing of NYU40 in Cityscapes, where it is ridden."""
    assert names_of(nyu40_of_names(["bicycle", "forklift"]).ids) == ["unknown", "unknown"]
