"""What is known of unit and up survives every copy of a canonical folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sequence_folders as folders

from pipelines import open_sequence
from pipelines.checks.inspection import inspect_sequence
from pipelines.frame import SequenceError
from pipelines.reduced import reduced
from pipelines.sequences.evidence import GIVEN, WorldEvidence, evidence_of, read_evidence
from pipelines.sequences.ingest import ingest

ESTIMATE = WorldEvidence("network, furniture", 0.12, 0.07, "level surfaces")
KEYS = {
    "scale_source": "network, furniture",
    "scale_deviation": 0.12,
    "scale_spread": 0.07,
    "up_source": "level surfaces",
}


def write_canonical(path: Path, **keys: Any) -> None:
    """A canonical folder with more keys in its header."""
    folders.write_nerfstudio(path.with_name("plain"))
    ingest(open_sequence(path.with_name("plain")), path, extra={"world_up": [0, 0, 1]} | keys)


def header_of(path: Path) -> dict[str, Any]:
    header: dict[str, Any] = json.loads((path / "transforms.json").read_text())
    return header


def test_header_has_what_is_known() -> None:
    assert ESTIMATE.header() == KEYS
    assert read_evidence(KEYS, Path("x")) == ESTIMATE
    assert WorldEvidence().header() == {}
    assert WorldEvidence("network", 0.0).header() == {"scale_source": "network", "scale_deviation": 0.0}
    assert (ESTIMATE.is_estimate, ESTIMATE.scale_note()) == (True, "estimated (network, furniture), ± 12%")
    assert WorldEvidence("network").scale_note() == "estimated (network)"
    for other in (WorldEvidence(), WorldEvidence(GIVEN)):
        assert (other.is_estimate, other.scale_note()) == (False, "")


def test_a_copy_of_a_copy_keeps_it(tmp_path: Path) -> None:
    write_canonical(tmp_path / "a", **KEYS)
    ingest(open_sequence(tmp_path / "a"), tmp_path / "b")
    ingest(reduced(open_sequence(tmp_path / "b"), 8), tmp_path / "c")
    copy = open_sequence(tmp_path / "c")
    assert KEYS.items() <= header_of(tmp_path / "c").items()
    assert (evidence_of(copy), copy.is_metric, copy.world_up) == (ESTIMATE, True, (0, 0, 1))


def test_folders_of_earlier_versions_have_the_deviation_elsewhere(tmp_path: Path) -> None:
    write_canonical(tmp_path / "a", scale_source="network", posing={"scale_deviation": 0.3, "posed": 9})
    ingest(open_sequence(tmp_path / "a"), tmp_path / "b")
    header = header_of(tmp_path / "b")
    assert (header["scale_source"], header["scale_deviation"]) == ("network", 0.3)
    assert "posing" not in header


def test_a_unit_that_is_not_known_stays_so(tmp_path: Path) -> None:
    folders.write_colmap_text(tmp_path / "a")
    ingest(open_sequence(tmp_path / "a"), tmp_path / "b")
    ingest(open_sequence(tmp_path / "b"), tmp_path / "c")
    assert header_of(tmp_path / "c")["is_metric"] is False
    assert not {"scale_source", "up_source"} & header_of(tmp_path / "c").keys()
    copy = open_sequence(tmp_path / "c")
    assert (copy.is_metric, copy.world_up, evidence_of(copy)) == (False, None, WorldEvidence())


def test_up_that_a_user_writes_next_to_it_is_given(tmp_path: Path) -> None:
    write_canonical(tmp_path / "a", **KEYS)
    (tmp_path / "a/m2h.yaml").write_text("world_up: [1, 0, 0]\n")
    ingest(open_sequence(tmp_path / "a"), tmp_path / "b")
    header = header_of(tmp_path / "b")
    assert header["world_up"] == [1, 0, 0]
    assert "up_source" not in header
    assert header["scale_source"] == "network, furniture"


def test_files_of_other_programs_say_nothing(tmp_path: Path) -> None:
    folders.write_nerfstudio(tmp_path / "a")
    file = tmp_path / "a/transforms.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | KEYS))
    assert evidence_of(open_sequence(tmp_path / "a")) == WorldEvidence()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"scale_source": 3}, "scale_source must be a text, got 3"),
        ({"up_source": ["x"]}, "up_source must be a text"),
        ({"scale_deviation": -0.1}, "scale_deviation must be a number that is not negative, got -0.1"),
        ({"scale_spread": "wide"}, "scale_spread must be a number that is not negative"),
        ({"scale_source": "network", "is_metric": False}, "scale_source has no effect, since is_metric is false"),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    write_canonical(tmp_path / "a", **keys)
    with pytest.raises(SequenceError, match=rf"transforms\.json: {message}"):
        open_sequence(tmp_path / "a")


def test_inspection_shows_it(tmp_path: Path) -> None:
    write_canonical(tmp_path / "a", **KEYS)
    found = inspect_sequence(open_sequence(tmp_path / "a"))
    lines = found.lines()
    assert "unit of the poses: metre, estimated (network, furniture), ± 12%" in lines
    assert "up: 0 0 1 (found by an earlier map from level surfaces)" in lines
    assert found.to_json()["evidence"] == KEYS
    (tmp_path / "a/transforms.json").write_text(
        (tmp_path / "a/transforms.json").read_text().replace("network, furniture", GIVEN)
    )
    assert "unit of the poses: metre, as a user gave it" in inspect_sequence(open_sequence(tmp_path / "a")).lines()
