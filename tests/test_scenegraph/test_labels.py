from copy import deepcopy

import numpy as np
import pytest

from scenegraph.labels import (
    LabelClass,
    LabelSpace,
    LabelSpaceError,
    label_space_from_mapping,
    load_label_space,
    nyu40,
)

HALL = {
    "name": "hall",
    "classes": [
        {"id": 0, "name": "void", "kind": "unknown"},
        {"id": 3, "name": "shelf", "kind": "object", "color": [10, 20, 30]},
        {"id": 300, "name": "forklift", "kind": "dynamic"},
    ],
}


def test_nyu40_has_the_published_ids():
    space = nyu40()
    assert [c.id for c in space.classes] == list(range(41))
    published = {
        1: "wall",
        2: "floor",
        5: "chair",
        8: "door",
        22: "ceiling",
        25: "television",
        31: "person",
        40: "otherprop",
    }
    assert {i: space.name_of(i) for i in published} == published
    assert space.id_of("refrigerator") == 24
    assert len(set(space.names)) == 41


def test_kinds_of_nyu40():
    space = nyu40()
    assert space.ids_of_kind("unknown") == {0}
    assert space.ids_of_kind("dynamic") == {31}
    assert {1, 2, 8, 9, 22} <= space.ids_of_kind("structure")
    assert {4, 5, 6, 7, 33} <= space.ids_of_kind("object")
    kinds = ("unknown", "structure", "object", "dynamic")
    assert sum(len(space.ids_of_kind(kind)) for kind in kinds) == 41


def test_mask_of_kind_keeps_the_shape():
    labels = np.array([[0, 31], [5, 31]], np.uint8)
    np.testing.assert_array_equal(nyu40().mask_of_kind("dynamic", labels), [[False, True], [False, True]])


def test_colours():
    space = nyu40()
    palette = space.palette()
    assert palette.shape == (41, 3)
    assert palette.dtype == np.uint8
    assert len({tuple(color) for color in palette.tolist()}) == 41
    labels = np.array([[1, 5], [41, 65535]], np.uint16)
    image = space.colorize(labels)
    assert image.shape == (2, 2, 3)
    np.testing.assert_array_equal(image[0], palette[[1, 5]])
    np.testing.assert_array_equal(image[1], [[128] * 3] * 2)


def test_unknown_names_and_ids():
    assert nyu40().name_of(77) == "unknown"
    with pytest.raises(LabelSpaceError, match="no class 'forklift'; it has unknown, wall"):
        nyu40().id_of("forklift")


def test_file_round_trip(tmp_path):
    path = tmp_path / "hall.yaml"
    path.write_text(
        "name: hall\nclasses:\n- {id: 0, name: void, kind: unknown}\n"
        "- {id: 3, name: shelf, kind: object, color: [10, 20, 30]}\n- {id: 300, name: forklift, kind: dynamic}\n"
    )
    space = load_label_space(str(path))
    assert space == label_space_from_mapping(HALL, "HALL")
    assert space.by_id[3].color == (10, 20, 30)
    assert space.palette().shape == (301, 3)
    np.testing.assert_array_equal(space.palette()[4], [128] * 3)
    assert load_label_space("nyu40") == nyu40()
    assert load_label_space("nyu13").name == "nyu13"


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda d: d.pop("name"), "expected a mapping with name"),
        (lambda d: d.update(classes={}), "expected a mapping with name"),
        (lambda d: d["classes"].append("chair"), r"classes\[3\]: expected a mapping"),
        (lambda d: d["classes"][1].update(colour=[1, 2, 3]), r"classes\[1\]: expected a mapping with id, name, kind"),
        (lambda d: d["classes"][1].update(id="3"), r"classes\[1\]: id must be a whole number"),
        (lambda d: d["classes"][1].update(kind="furniture"), r"kind one of unknown, structure, object, dynamic"),
        (lambda d: d["classes"][1].update(color=[1, 2]), r"classes\[1\]\.color: expected three whole numbers"),
        (lambda d: d["classes"][1].update(color=[1, 2, 256]), r"classes\[1\]\.color"),
        (lambda d: d["classes"][1].update(color=7), r"classes\[1\]\.color"),
        (
            lambda d: d["classes"][1].update(nyu40="shelf"),
            r"classes\[1\]\.nyu40: expected a class of NYU40, got 'shelf'",
        ),
        (lambda d: d["classes"][1].update(nyu40="unknown"), r"classes\[1\]\.nyu40"),
        (lambda d: d["classes"][1].update(also="rack"), r"classes\[1\]\.also: expected a list of names"),
        (lambda d: d["classes"][1].update(id=300), "ids must be distinct"),
        (lambda d: d["classes"][1].update(id=65536), r"0\.\.65535"),
        (lambda d: d["classes"][0].update(kind="object"), "id 0 must exist and be of kind unknown"),
        (lambda d: d["classes"].pop(0), "id 0 must exist"),
    ],
)
def test_refused_spaces(corrupt, message):
    data = deepcopy(HALL)
    corrupt(data)
    with pytest.raises(LabelSpaceError, match=message):
        label_space_from_mapping(data, "hall.yaml")


def test_refused_files(tmp_path):
    with pytest.raises(LabelSpaceError, match=r"neither a known label space \(nyu40, ade20k, .*\) nor a file"):
        load_label_space("ade21k")
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [")
    with pytest.raises(LabelSpaceError, match="not readable as YAML"):
        load_label_space(str(broken))
    tagged = tmp_path / "tagged.yaml"
    tagged.write_text("!!python/object/apply:os.getcwd []")
    with pytest.raises(LabelSpaceError, match="not readable as YAML"):
        load_label_space(str(tagged))


def test_space_itself_is_checked():
    with pytest.raises(LabelSpaceError, match="id 0"):
        LabelSpace("x", (LabelClass(1, "a", (0, 0, 0), "object"),))


def test_cityscapes_numbers_are_training_ids_plus_one():
    space = load_label_space("cityscapes19")
    assert len(space.classes) == 20
    assert (space.id_of("road"), space.id_of("person"), space.id_of("car"), space.id_of("bicycle")) == (1, 12, 14, 19)
    assert space.ids_of_kind("dynamic") == frozenset(range(12, 20))
    assert space.name_of(6) == "pole"
    assert space.by_id[6].kind == "object"
