"""What boxes change in made-up probabilities of labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m2h.detection.detector import Detections
from m2h.detection.evidence import NYU40_OF_CLASS, add_evidence, likely_right, separate
from m2h.detection.nanodet import CLASSES
from scenegraph.labels import load_label_space, nyu40

WALL, FLOOR, CHAIR, TABLE, PROP = (nyu40().id_of(name) for name in ("wall", "floor", "chair", "table", "otherprop"))
NEAR, FAR = 2.0, 5.0
BOX = (10, 10, 30, 30)


def detections(*found: tuple[str, float, tuple[int, int, int, int]]) -> Detections:
    boxes = np.array([box for _, _, box in found], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _ in found], np.float32)
    return Detections(boxes, scores, np.array([CLASSES.index(name) for name, _, _ in found], np.int64))


def logits_of(shares: dict[int, float]) -> torch.Tensor:
    """[41, 40, 40] that give each label its probability everywhere, and the others what is left."""
    rest = (1 - sum(shares.values())) / (41 - len(shares))
    row = torch.tensor([shares.get(label, rest) for label in range(41)])
    return row.log()[:, None, None].repeat(1, 40, 40)


def object_in_front() -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities and depth of something in the middle of the box, perhaps a chair, and a wall behind it."""
    logits, depth = logits_of({WALL: 0.9, CHAIR: 0.01}), torch.full((40, 40), FAR)
    logits[:, 14:28, 13:27] = logits_of({WALL: 0.2, CHAIR: 0.3})[:, 14:28, 13:27]
    depth[14:28, 13:27] = NEAR
    return logits, depth


def changed(
    logits: torch.Tensor, depth: torch.Tensor, *found: tuple[str, float, tuple[int, int, int, int]]
) -> torch.Tensor:
    """Probabilities [41, 40, 40] with the detections."""
    result = logits.clone()
    add_evidence(result, depth, detections(*found))
    return result.softmax(dim=0)


def test_a_box_names_the_object_and_not_the_wall_behind_it() -> None:
    logits, depth = object_in_front()
    after = changed(logits, depth, ("chair", 0.6, BOX))
    assert float(after[CHAIR, 20, 20]) > 0.65
    assert float(after[WALL, 11, 11]) > 0.85
    np.testing.assert_allclose(after.sum(dim=0), 1, atol=1e-5)


def test_a_box_does_not_speak_against_its_label() -> None:
    """Depth of what moves is that of what is behind it."""
    logits, depth = logits_of({CHAIR: 0.8, WALL: 0.1}), torch.full((40, 40), FAR)
    depth[15:25, 15:25] = NEAR
    after = changed(logits, depth, ("chair", 0.6, BOX))
    assert (after[CHAIR] >= logits.softmax(dim=0)[CHAIR] - 1e-6).all()


def test_outside_and_among_other_labels_nothing_changes() -> None:
    logits, depth = object_in_front()
    before, after = logits.softmax(dim=0), changed(logits, depth, ("chair", 0.6, BOX))
    outside = torch.ones(40, 40, dtype=torch.bool)
    outside[10:30, 10:30] = False
    torch.testing.assert_close(after[:, outside], before[:, outside])
    torch.testing.assert_close(after[WALL] / after[FLOOR], before[WALL] / before[FLOOR])


def test_the_surer_the_box_the_more_it_changes() -> None:
    logits, depth = object_in_front()
    chair = [float(changed(logits, depth, ("chair", score, BOX))[CHAIR, 20, 20]) for score in (0.4, 0.5, 0.7)]
    assert logits.softmax(dim=0)[CHAIR, 20, 20] < chair[0] < chair[1] < chair[2]
    assert likely_right(np.array([0.2, 0.9], np.float32)) == pytest.approx([0.18, 1.0], abs=0.01)


def test_low_scores_small_boxes_and_unused_classes_do_nothing() -> None:
    logits, depth = object_in_front()
    for found in (
        ("chair", 0.39, BOX),
        ("chair", 0.9, (10, 10, 13, 13)),
        ("chair", 0.9, (60, 60, 90, 90)),
        ("refrigerator", 0.9, BOX),
        ("car", 0.9, BOX),
    ):
        torch.testing.assert_close(changed(logits, depth, found), logits.softmax(dim=0))


@pytest.mark.parametrize(("name", "label"), [("bed", 4), ("person", 31)])
def test_a_box_with_which_the_network_does_not_agree_does_nothing(name: str, label: int) -> None:
    """A floor taken for a bed, a person on a poster."""
    logits = logits_of({FLOOR: 0.5, WALL: 0.4, label: 0.02})
    after = changed(logits, torch.full((40, 40), NEAR), (name, 0.9, (0, 0, 40, 40)))
    torch.testing.assert_close(after, logits.softmax(dim=0))


def test_the_floor_in_the_box_of_a_table_stays_one() -> None:
    """At the same depth: the network finds the table likelier elsewhere in the box, though it is sure of it nowhere."""
    logits = logits_of({FLOOR: 0.75, TABLE: 0.02})
    logits[:, :20] = logits_of({FLOOR: 0.1, TABLE: 0.3})[:, :20]
    after = changed(logits, torch.full((40, 40), NEAR), ("dining table", 0.6, (0, 0, 40, 40)))
    assert (after[:, :20].argmax(dim=0) == TABLE).all()
    assert (after[:, 20:].argmax(dim=0) == FLOOR).all()


def test_a_cup_on_a_table_stays_a_cup() -> None:
    logits = logits_of({TABLE: 0.3, PROP: 0.2})
    found = (("cup", 0.5, (18, 18, 24, 24)), ("dining table", 0.6, (2, 2, 38, 38)))
    after = changed(logits, torch.full((40, 40), NEAR), *found)
    assert int(after[:, 21, 21].argmax()) == PROP
    assert int(after[:, 8, 8].argmax()) == TABLE


def test_one_box_per_object_and_label_the_largest_first() -> None:
    found = separate(
        detections(
            ("cup", 0.8, (0, 0, 10, 10)),
            ("bottle", 0.7, (0, 0, 11, 11)),  # the same label
            ("chair", 0.6, (0, 0, 20, 20)),
            ("chair", 0.5, (2, 2, 8, 8)),  # inside of it
            ("chair", 0.5, (15, 15, 40, 40)),
        )
    )
    assert [CLASSES[label] for label in found.classes] == ["chair", "chair", "cup"]
    assert found.boxes[0].tolist() == [15, 15, 40, 40]


def test_labels_are_those_of_the_label_space() -> None:
    coco, space = load_label_space("coco"), nyu40()
    standing = {each.name: each.nyu40 for each in coco.classes}
    for name, label in NYU40_OF_CLASS.items():
        assert space.name_of(label) == standing[name.replace(" ", "_")], name
    assert [name.replace(" ", "_") for name in CLASSES] == [coco.name_of(i + 1) for i in range(80)]
