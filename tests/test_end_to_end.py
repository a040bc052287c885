"""A rendered apartment through all of m2h, measured against its truth: lower bounds of the map's quality."""

import json

import pytest
from click.testing import CliRunner

from pipelines.cli import main

AT_LEAST = {
    ("mesh", "f_5cm"): 0.97,
    ("mesh", "label_accuracy"): 0.95,
    ("objects", "f1_25"): 0.80,
    ("rooms", "f1"): 0.85,
    ("tracks", "recall"): 0.8,
    ("tracks", "precision"): 0.8,
}
AT_MOST = {("tracks", "ghost_share"): 0.02, ("mesh", "accuracy_m"): 0.02}


def answer(*arguments):
    """What a command prints with --json."""
    result = CliRunner().invoke(main, [*map(str, arguments), "--json", "-q"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


SMALL = ("--size", "160x120", "--frames", 140)


@pytest.mark.slow
@pytest.mark.parametrize(
    "recording", [pytest.param(SMALL, id="small"), pytest.param((), id="usual", marks=pytest.mark.full)]
)
def test_an_apartment_with_people_comes_out_as_it_is(tmp_path, recording):
    """Three rooms and two people, recorded depth and labels, default settings; at the usual size minutes of processor time."""
    answer("synth", tmp_path / "apartment", "--seed", 26, "--rooms", 3, "--people", 2, *recording)
    manifest = answer("graph", tmp_path / "apartment", "--out", tmp_path / "run")
    assert manifest["stages"]["graph"]["summary"]["counts"]["room"] == 3
    measured = answer("eval", tmp_path / "run", tmp_path / "apartment")
    short = {at: measured[at[0]][at[1]] for at, least in AT_LEAST.items() if not measured[at[0]][at[1]] >= least}
    far = {at: measured[at[0]][at[1]] for at, most in AT_MOST.items() if not measured[at[0]][at[1]] <= most}
    assert (short, far) == ({}, {})
