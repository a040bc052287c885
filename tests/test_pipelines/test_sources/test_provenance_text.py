"""Where depth, labels and sizes come from is said with every map, and what is not known of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from m2h import Predictions
from pipelines.cli.run import print_summary
from pipelines.pipeline import STAGE_NAMES
from pipelines.sources.provenance_text import depth_sentence, labels_sentence, trust_lines
from pipelines.sources.source import DepthOrigin, Source
from scenegraph.labels import nyu40


def source(**fields):
    given = {"label_space": None, "depth_from": DepthOrigin.NETWORK} | fields
    return Source("net", lambda frame: Predictions(), "1", **given)


def test_a_network_for_both_is_told_once():
    found = trust_lines(source(label_space=nyu40(), predicts_labels=True, trust="depth is off by 6 %"), {})
    assert found == ["Depth and labels are predicted by net. Depth is off by 6 %."]


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (DepthOrigin.SENSOR, "Depth is that of net, taken as measured; how exact it is is not stated."),
        (DepthOrigin.NETWORK, "Depth is predicted from single images by net; how good"),
        (DepthOrigin.FITTED, "Depth is predicted from single images by net and fitted to what images prove; how good"),
        (DepthOrigin.POSES, "Depth is found from neighbouring images by net, and unknown where they have no texture"),
    ],
)
def test_depth(origin, expected):
    assert depth_sentence(source(depth_from=origin)).startswith(expected)


def test_without_labels_it_is_said_how_to_get_them():
    first, second = trust_lines(source(), {})
    assert first.startswith("Depth is predicted")
    assert second.startswith(
        "There are no labels, so objects have no names: add them with --source mixed:depth=SOURCE,"
    )


def test_labels_are_exact_or_guesses():
    recorded = source(label_space=nyu40(), depth_from=DepthOrigin.SENSOR)
    assert labels_sentence(recorded) == "Labels are those of net, taken as exact."
    assert labels_sentence(replace(recorded, name="recorded")).startswith("Labels are those of the recording")
    guessed = labels_sentence(replace(recorded, predicts_labels=True))
    assert guessed == "Labels are predicted by net; how good it is on such images has not been measured."


def test_what_the_alignment_found_belongs_to_it():
    summary = {
        "applied": True,
        "residual": 0.021,
        "scale_state": "estimated",
        "pose_scale": 0.4567,
        "pose_scale_spread": 0.12,
    }
    first, _, sizes = trust_lines(source(), {"align": {"summary": summary}})
    assert first.endswith("After alignment the depths of frames differ by 2.1%.")
    assert sizes == "Sizes are estimates: one unit of the poses is taken for 0.457 m, by which frames differ by 12%."
    *_, stated = trust_lines(source(), {"align": {"summary": summary | {"pose_scale_deviation": 0.31}}})
    assert "taken for 0.457 m ± 31% (two standard deviations), by which frames differ by 12%." in stated
    *_, unknown = trust_lines(source(), {"align": {"summary": {"scale_state": "unknown"}}})
    assert unknown == "Sizes are in the unit of the poses, which is unknown: give it with --scale."


def test_metres_that_only_the_format_states_are_told():
    stages = {
        "align": {"summary": {"scale_state": "metres"}},
        "check": {"summary": {"unit": None, "depth_scale": None}},
    }
    by_poses = source(depth_from=DepthOrigin.POSES)
    assert trust_lines(by_poses, stages)[-1].endswith("as their format says; nothing in the images proves that.")
    stages["check"]["summary"]["unit"] = {"metres": 0.934, "deviation": 0.31}
    assert trust_lines(by_poses, stages)[-1].endswith("predicted depth says 0.93 m for one unit (± 31%).")
    stages["check"]["summary"]["depth_scale"] = {"ratio": 1.0}
    assert not any("Sizes" in line for line in trust_lines(by_poses, stages))
    assert not any("Sizes" in line for line in trust_lines(source(depth_from=DepthOrigin.SENSOR), stages))


def test_estimated_metres_are_told_as_such():
    note = "estimated (network, furniture), ± 12%"
    stages = {
        "sequence": {"summary": {"scale_note": note}},
        "align": {"summary": {"scale_state": "metres"}},
        "check": {"summary": {"unit": {"metres": 0.934, "deviation": 0.31}, "depth_scale": None}},
    }
    *_, sizes = trust_lines(source(depth_from=DepthOrigin.POSES), stages)
    assert sizes == f"Sizes are {note}: measure one length in the map; its true one over that is --scale."
    stages["align"]["summary"]["scale_state"] = "given"
    assert not any("estimated" in line for line in trust_lines(source(depth_from=DepthOrigin.POSES), stages))


def test_it_ends_the_summary_of_a_run(capsys):
    record = {"up_to_date": False, "seconds": 1.0, "peak_memory_mb": 2.0, "warnings": [], "summary": {"text": ""}}
    manifest = {
        "input": {"name": "walk", "format": "tum"},
        "source": "net",
        "trust": trust_lines(source(), {}),
        "stages": dict.fromkeys(STAGE_NAMES, record),
    }
    print_summary(manifest, Path("run"))
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.index("report.html first") < shown.index("How far to trust it: - Depth is predicted")
    assert shown.endswith("(docs/sources.md).")
