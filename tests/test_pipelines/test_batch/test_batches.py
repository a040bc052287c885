"""Real sequences, real workers: a broken one among three and a worker that is killed; one sequence in pieces."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
from batch_worlds import BREAKAGES, SETTINGS, break_sequence, lines_of, plan_of, write_small_room
from helpers import m2h

from mapping.files import is_temporary
from pipelines.batch.board import Board
from pipelines.batch.executors import ProcessExecutor, SequentialExecutor, WorkerRequest
from pipelines.batch.leases import read_leases
from pipelines.batch.running import BatchOptions, run_batch
from pipelines.batch.worker import run_step

pytestmark = pytest.mark.slow
TIMED = ("report.html", "manifest.json")
"""Files with seconds in them."""


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room") / "room"
    write_small_room(folder)
    return folder


@pytest.fixture(scope="module")
def whole(room, tmp_path_factory):
    """The files of the room's map in one piece, by `m2h run`."""
    out = tmp_path_factory.mktemp("whole") / "run"
    m2h("run", room, "--out", out, "--source", "recorded", "-q", *[x for text in SETTINGS for x in ("--set", text)])
    return contents(out)


def contents(folder):
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in TIMED]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


class Killer:
    """Kills a worker with a lease, once, when its step has come as far as a stage."""

    def __init__(self, folder: Path) -> None:
        self.leases, self.killed = folder / "leases", []

    def __call__(self, statuses: object) -> None:
        for lease in read_leases(self.leases).values():
            if not self.killed and lease.holder is not None and lease.holder.pid != os.getpid():
                os.kill(lease.holder.pid, signal.SIGKILL)
                self.killed.append(lease.step)


def test_three_sequences_one_broken_and_a_worker_killed(room, whole, tmp_path):
    names = ["one", "two", "broken"]
    for name in names:  # the name of a recording is in its map
        shutil.copytree(room, tmp_path / name / "room")
    break_sequence(tmp_path / "broken" / "room", "no_json")
    plan = plan_of(tmp_path, [{"path": f"{name}/room", "name": name} for name in names])
    killer = Killer(plan.folder)
    statuses = run_batch(
        plan.folder, ProcessExecutor(WorkerRequest(2, 1)), BatchOptions(workers=2, poll=0.5), report=killer
    )
    assert len(killer.killed) == 1
    assert list(lines_of(statuses)) == ["broken.map"]
    assert f"{tmp_path}/broken/room/transforms.json" in lines_of(statuses)["broken.map"]
    for unit in plan.units[:2]:
        assert contents(plan.run_folder(unit)) == whole, unit.name
    log = (plan.folder / "logs" / f"{killer.killed[0]}.log").read_text()
    assert "once more" in log
    assert not [path for path in plan.folder.rglob("*") if is_temporary(path.name)]
    result = m2h("batch", "status", plan.folder)
    assert "broken/room/transforms.json" in result.output.replace("\n", "").replace(" ", "").replace("│", "")


@pytest.mark.parametrize("how", BREAKAGES)
def test_every_broken_sequence_has_one_clear_line(room, tmp_path, how):
    shutil.copytree(room, tmp_path / "room")
    break_sequence(tmp_path / "room", how)
    statuses = run_batch(plan_of(tmp_path, ["room"]).folder, SequentialExecutor(), BatchOptions())
    (line,) = lines_of(statuses).values()
    assert line.startswith(str(tmp_path / "room")), line
    assert "bug" not in line
    assert "\n" not in line


class ShuffledExecutor(SequentialExecutor):
    """Calls what it is given in any order, and sometimes, as a worker that is killed, only half."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng

    def submit(self, fn, /, *args):
        if self._rng.random() < 0.3:
            future: Future[object] = Future()
            future.set_result("busy")
            return future
        return super().submit(fn, *args)


@pytest.mark.parametrize("pieces", [pytest.param(3, marks=pytest.mark.full), 8])
def test_pieces_in_any_order_end_in_the_same_bytes(room, whole, tmp_path, pieces):
    plan = plan_of(tmp_path, [{"path": str(room), "name": "room", "pieces": pieces}])
    run_batch(plan.folder, ShuffledExecutor(random.Random(pieces)), BatchOptions(poll=0.01))
    assert contents(plan.run_folder(plan.units[0])) == whole
    assert list((plan.folder / "pieces").iterdir()) == []


def test_pieces_of_another_input_are_not_taken(room, tmp_path):
    shutil.copytree(room, tmp_path / "room")
    plan = plan_of(tmp_path, [{"path": "room", "pieces": 2}])
    for name in ("room.prepare", "room.fuse-0"):
        assert run_step(str(plan.folder), name, 1) == "done"
    depth = tmp_path / "room" / "depth"
    (depth / "000001.png").write_bytes((depth / "000002.png").read_bytes())
    assert run_step(str(plan.folder), "room.fuse-1", 1) == "failed"
    line = lines_of(Board(plan).read())["room.fuse-1"]
    assert line.endswith("stage sequence was not done with this input and these settings")
    run_batch(plan.folder, SequentialExecutor(), BatchOptions(retry=True))
    assert not lines_of(Board(plan).read())


def test_a_worker_of_a_shard_ends_by_a_signal_and_another_goes_on(room, whole, tmp_path):
    plan = plan_of(tmp_path, [{"path": str(room), "name": "room"}])
    command = [sys.executable, "-m", "pipelines", "batch", "run", str(plan.folder), "--shard", "0/2", "--workers", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 200
        while not read_leases(plan.folder / "leases") and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=200)
    assert process.returncode == 130
    assert "the same command continues from here" in said
    assert read_leases(plan.folder / "leases") == {}
    m2h("batch", "run", plan.folder, "--shard", "1/2", "--executor", "sequential", "-q")
    assert contents(plan.run_folder(plan.units[0])) == whole
