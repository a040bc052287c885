"""`m2h batch` on the command line: what it prints, its exit codes, the script for Slurm, buildings."""

import json
import subprocess

import pytest
from batch_worlds import plan_of
from helpers import m2h

from pipelines.batch import buildings, work
from pipelines.batch.leases import HeldLease
from pipelines.frame import SequenceError


@pytest.fixture
def did(monkeypatch):
    """What steps do is noted instead; `broken` cannot be read."""
    notes = []

    def do(plan, step, progress):
        notes.append(step.id)
        if step.unit.name == "broken":
            raise SequenceError("recordings/broken: no such file or folder")
        plan.run_folder(step.unit).mkdir(parents=True, exist_ok=True)
        (plan.run_folder(step.unit) / "manifest.json").write_text("{}")
        return {}

    monkeypatch.setattr(work, "WORK", dict.fromkeys(work.WORK, do))
    return notes


def test_plan_run_status(tmp_path, did):
    (tmp_path / "list.yaml").write_text("sequences: [a, broken, {path: b, name: big, pieces: 2}]\n")
    out = tmp_path / "plan"
    assert "3 sequences in 9 steps" in m2h("batch", "plan", tmp_path / "list.yaml", "--out", out).stdout
    HeldLease(out / "leases", "a.map", 1).take()
    before = m2h("batch", "status", out)
    assert "not known yet" in before.stdout
    assert "a" in before.stdout
    (out / "leases" / "a.map.1.json").unlink()
    result = m2h("batch", "run", out, "--executor", "sequential", code=1)
    assert "broken: recordings/broken: no such file or folder" in result.stderr
    assert "m2h: 1 of 3 sequences failed" in result.stderr
    assert "recordings/broken: no such file or folder" in result.stdout
    data = json.loads(m2h("batch", "status", out, "--json").stdout)
    assert (data["sequences"], data["done"], data["waiting"], data["running"]) == (3, 2, 0, [])
    assert data["failed"] == [{"name": "broken", "step": "map", "line": "recordings/broken: no such file or folder"}]
    data = json.loads(m2h("batch", "run", out, "--executor", "sequential", "--json", "-q", code=1).stdout)
    assert data["done"] == 2


@pytest.mark.parametrize("shard", ["3/3", "a/2", "1", "-1/2", "1/0"])
def test_a_shard_that_is_none_is_a_matter_of_usage(tmp_path, shard):
    plan_of(tmp_path, ["a"])
    assert "expected I/N" in m2h("batch", "run", tmp_path / "plan", "--shard", shard, code=2).stderr


def test_an_unknown_executor_is_named(tmp_path):
    plan_of(tmp_path, ["a"])
    result = m2h("batch", "run", tmp_path / "plan", "--executor", "cloud", code=1)
    assert "unknown name 'cloud'; known are dask, processes, sequential" in result.stderr


def test_the_script_for_slurm_runs_the_shards(tmp_path):
    folder = tmp_path / "two words"
    folder.mkdir()
    plan = plan_of(folder, ["a", "b", "c"])
    result = m2h("batch", "run", plan.folder, "--executor", "slurm-array")
    script = plan.folder / "slurm_array.sh"
    assert script.read_text() == result.stdout
    assert "#SBATCH --array=0-2" in result.stdout
    assert "#SBATCH --array=0-7" in m2h("batch", "run", plan.folder, "--executor", "slurm-array", "--workers", 8).stdout
    text = script.read_text().replace("exec ", "printf '%s\\n' ")
    run = subprocess.run(
        ["bash", "-c", text], capture_output=True, text=True, check=True, env={"SLURM_ARRAY_TASK_ID": "5"}
    )
    said = run.stdout.splitlines()
    assert said[-6:] == ["batch", "run", str(plan.folder), "--shard", "5/8", "-q"]


def test_buildings_are_joined_from_what_is_done(tmp_path, did, monkeypatch):
    merged = {}

    def merge_runs(runs, out, **_):
        if "tower" in str(out):
            raise SequenceError("tower: nothing in common")
        merged[out.name] = [run.name for run in runs]

    monkeypatch.setattr(buildings, "merge_runs", merge_runs)
    entries = [{"path": name, "building": name[0] + "ouse"} for name in ("h1", "h2", "m1")]
    entries += [{"path": "broken", "building": "house"}, *({"path": f"t{n}", "building": "tower"} for n in (1, 2)), "x"]
    plan = plan_of(tmp_path, entries)
    m2h("batch", "run", plan.folder, "--executor", "sequential", "-q", code=1)
    result = m2h("batch", "merge", plan.folder, code=1)
    assert merged == {"house": ["h1", "h2"]}
    assert result.stdout.splitlines() == [
        f"house: 2 maps in {plan.folder}/buildings/house, without broken",
        "mouse: expected at least two finished maps, there are 1",
        "tower: tower: nothing in common",
    ]


def test_without_buildings_there_is_nothing_to_merge(tmp_path):
    plan = plan_of(tmp_path, ["a"])
    assert "no sequence belongs to a building" in m2h("batch", "merge", plan.folder, code=1).stderr
