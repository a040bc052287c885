"""What a sequence says of its unit and of up, in the manifest of a run of it."""

import json
import shutil

import pytest
from box_room import write_box_room

from pipelines.pipeline import run
from pipelines.sequences.detect import open_sequence
from pipelines.sequences.evidence import GIVEN, WorldEvidence
from pipelines.sources.provenance_text import trust_lines
from pipelines.sources.source import open_source

ESTIMATE = WorldEvidence("network, furniture", 0.12, 0.07, "level surfaces")
SENTENCE = (
    "Sizes are estimated (network, furniture), ± 12%: measure one length in the map; its true one over that is --scale."
)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room") / "room"
    write_box_room(folder, frames=8)
    return folder


@pytest.fixture
def stages_of(room, tmp_path):
    def mapped(evidence):
        shutil.copytree(room, tmp_path / "room", dirs_exist_ok=True)
        header = tmp_path / "room/transforms.json"
        header.write_text(json.dumps(json.loads(header.read_text()) | evidence.header()))
        return run(open_sequence(tmp_path / "room"), tmp_path / "run", until="level")["stages"]

    return mapped


def test_an_estimate_is_one_in_the_manifest(stages_of, room):
    stages = stages_of(ESTIMATE)
    unit, levelled = (stages[name]["summary"] for name in ("align", "level"))
    assert {key: unit[key] for key in unit if "scale" in key} == {
        "scale_state": "estimated",
        "pose_scale": 1.0,
        "pose_scale_spread": 0.07,
        "pose_scale_deviation": 0.12,
        "pose_scale_evidence": ["network", "furniture"],
    }
    assert unit["text"].endswith(
        "one unit of the poses is 1 m (estimated by network, furniture ± 12%, frames differ by 7%)"
    )
    assert trust_lines(open_source("recorded", open_sequence(room)), stages)[-1] == SENTENCE
    assert levelled["up_state"] == "found"
    assert levelled["text"] == "up found: by an earlier map from level surfaces, up vector as given"


def test_what_a_user_gave_is_given_in_the_next_run(stages_of):
    stages = stages_of(WorldEvidence(GIVEN))
    assert stages["align"]["summary"]["scale_state"] == "given"
    assert stages["level"]["summary"]["up_state"] == "given"
