"""What an exported folder states of unit and up, and what `m2h export` says that other formats lose."""

import json
import shutil

import pytest
from helpers import m2h

from pipelines.exports.export_input import ExportOptions
from pipelines.exports.exporters import export_notes, export_run
from pipelines.sequences.detect import open_sequence
from pipelines.sequences.evidence import GIVEN, WorldEvidence, evidence_of

ESTIMATE = WorldEvidence("network, furniture", 0.12, 0.07, "level surfaces")
SENTENCE = "Sizes are estimated (network, furniture), ± 12%."


def changed(box_run, folder, *, source="recorded", **summaries):
    """A copy of the run whose manifest says so of its stages."""
    shutil.copytree(box_run, folder)
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["source"] = source
    for stage, summary in summaries.items():
        manifest["stages"][stage]["summary"] |= summary
    file.write_text(json.dumps(manifest))
    return folder


UNIT = {"scale_state": "estimated", "pose_scale": 0.4, "pose_scale_spread": 0.05, "pose_scale_deviation": 0.31}


@pytest.mark.parametrize(
    ("of_files", "source", "summaries", "expected"),
    [
        (WorldEvidence(), "recorded", {}, WorldEvidence()),
        (ESTIMATE, "recorded", {"align": {"scale_state": "estimated"}}, ESTIMATE),
        (ESTIMATE, "recorded", {"align": {"scale_state": "metres"}}, ESTIMATE),
        (
            ESTIMATE,
            "recorded",
            {"align": {"scale_state": "given"}},
            WorldEvidence(GIVEN, up_source="level surfaces"),
        ),
        (WorldEvidence(), "m2h:rooms", {"align": UNIT}, WorldEvidence("depth of m2h:rooms", 0.31, 0.05)),
        (WorldEvidence(), "recorded", {"align": UNIT}, WorldEvidence("recorded depth", 0.31, 0.05)),
        (
            WorldEvidence(),
            "recorded",
            {"level": {"up_state": "found", "up_source": "floor labels"}},
            WorldEvidence(up_source="floor labels"),
        ),
        (
            ESTIMATE,
            "recorded",
            {"level": {"up_state": "contradicted", "up_source": "cameras"}},
            WorldEvidence("network, furniture", 0.12, 0.07, "cameras"),
        ),
    ],
)
def test_an_exported_folder_states_what_the_run_knows(
    box_run, box_room, tmp_path, of_files, source, summaries, expected
):
    folder = changed(box_run, tmp_path / "run", source=source, **summaries)
    shutil.copytree(box_room, tmp_path / "room")
    header = tmp_path / "room/transforms.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | of_files.header()))
    out = export_run(folder, "nerfstudio", tmp_path / "out", ExportOptions(sequence=tmp_path / "room"))
    again = open_sequence(out)
    assert (evidence_of(again), again.is_metric, again.world_up) == (expected, True, (0, 0, 1))


def test_an_unknown_unit_is_exported_as_such(box_run, tmp_path):
    folder = changed(box_run, tmp_path / "run", align={"scale_state": "unknown"})
    out = export_run(folder, "nerfstudio", tmp_path / "out")
    assert open_sequence(out).is_metric is False
    assert evidence_of(open_sequence(out)) == WorldEvidence()


def test_what_a_format_does_not_state_is_said(box_run, tmp_path):
    folder = changed(box_run, tmp_path / "run")
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"trust": ["Depth is measured.", SENTENCE]}))
    assert export_notes(folder, "nerfstudio") == []
    assert export_notes(folder, "glb") == [SENTENCE]
    text = m2h("export", folder, tmp_path / "colmap", "--to", "colmap").stdout
    assert f"note: {SENTENCE}" in text
    assert "note: COLMAP's files do not state unit and up direction: a map of them estimates both again" in text
    assert json.loads(m2h("export", folder, tmp_path / "map.glb", "--to", "glb", "--json").stdout)["notes"] == [
        SENTENCE
    ]
