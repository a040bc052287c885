"""The corrections file: what is read, written and rejected."""

import numpy as np
import pytest

from scenegraph.corrections.entries import Anchor, Correction, CorrectionError, load_corrections, save_corrections

EVERY_KIND = """
corrections:
  - rename: {object: chair, at: [1.2, 0.4, 0.5], to: sofa}
  - rename: {room: bedroom, at: [3, 1, 1.2], to: study}
  - merge: {objects: [{object: table, at: [0, 0, 0.7]}, {object: table, at: [0.9, 0, 0.7]}]}
  - split: {object: chair, at: [2, 1, 0.5], into: [[1.8, 1, 0.5], [2.3, 1, 0.5]]}
  - room: {object: lamp, at: [1, 1, 1.5], to: {room: kitchen, at: [1, 2, 1.2]}}
  - delete: {object: box, at: [4, 1, 0.2]}
  - delete: {track: person, at: [2, 3, 0.9]}
"""


def test_every_kind_is_read_and_written_as_it_was(tmp_path):
    path = tmp_path / "corrections.yaml"
    path.write_text(EVERY_KIND)
    found = load_corrections(path)
    assert [correction.kind for correction in found] == ["rename", "rename", "merge", "split", "room", *["delete"] * 2]
    assert str(found[0]) == "rename chair at (1.20, 0.40, 0.50) to sofa"
    assert str(found[4]) == "room lamp at (1.00, 1.00, 1.50) to kitchen at (1.00, 2.00, 1.20)"
    assert found[1].about[0].layer == "room"
    assert found[6].about[0].layer == "track"
    np.testing.assert_allclose(found[3].points, [[1.8, 1, 0.5], [2.3, 1, 0.5]])
    save_corrections(path, found)
    assert [c.to_data() for c in load_corrections(path)] == [c.to_data() for c in found]
    assert path.read_text().startswith("# Corrections of this map")


def test_no_file_and_an_empty_one_have_no_corrections(tmp_path):
    path = tmp_path / "corrections.yaml"
    assert load_corrections(path) == []
    for text in ("", "corrections:\n", "# nothing yet\n"):
        path.write_text(text)
        assert load_corrections(path) == []
    save_corrections(path, [Correction("delete", (Anchor("object", "box", np.zeros(3)),))])
    assert len(load_corrections(path)) == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "- renam: {object: chair, at: [1, 2, 3], to: sofa}",
            r"corrections\[0\]: expected one of .*did you mean rename",
        ),
        ("- rename: {object: chair, at: [1, 2], to: sofa}", r"corrections\[0\].rename.at: expected 3 finite numbers"),
        ("- rename: {object: chair, at: [1, 2, .nan], to: sofa}", r"rename.at: expected 3 finite numbers"),
        ("- rename: {object: chair, too: sofa, at: [1, 2, 3]}", r"rename: unknown field 'too'; did you mean to"),
        ("- rename: {at: [1, 2, 3], to: sofa}", r"rename: expected object or room, once"),
        ("- rename: {object: chair, at: [1, 2, 3], to: ''}", r"rename.to: expected text"),
        ('- rename: {object: chair, at: [1, 2, 3], to: "a\\u0007b"}', r"rename.to: expected a printable name"),
        (
            "- merge: {objects: [{object: chair, at: [1, 2, 3]}]}",
            r"merge.objects: expected at least two objects, got 1",
        ),
        (
            "- split: {object: chair, at: [1, 2, 3], into: [[1, 2, 3]]}",
            r"split.into: expected 2 or more x 3 finite numbers",
        ),
        ("- room: {object: chair, at: [1, 2, 3], to: kitchen}", r"room.to: expected an object"),
        ("- delete: [1]", r"delete: expected an object"),
        ("- delete: {object: chair, at: [1, 2, 3]}\n  split: {}", r"corrections\[0\]: expected one of"),
        ("- 7", r"corrections\[0\]: expected one of"),
    ],
)
def test_mistakes_are_named_in_one_line(entry, message, tmp_path):
    path = tmp_path / "corrections.yaml"
    path.write_text(f"corrections:\n{entry}\n")
    with pytest.raises(CorrectionError, match=message) as error:
        load_corrections(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_another_file_is_rejected(tmp_path):
    path = tmp_path / "corrections.yaml"
    path.write_text("objects: []\n")
    with pytest.raises(CorrectionError, match="expected `corrections:` and a list"):
        load_corrections(path)
