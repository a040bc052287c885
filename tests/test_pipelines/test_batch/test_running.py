"""The loop: all that can be done is done, once, whoever does it, and what failed is listed and stops nothing else."""

import json
import threading
import time

import pytest
from batch_worlds import lines_of, plan_of, quick_watch, states_of

from pipelines.batch import leases, work
from pipelines.batch.board import MOST_DEATHS, Board
from pipelines.batch.executors import SequentialExecutor
from pipelines.batch.leases import HeldLease, lease_path
from pipelines.batch.listing import BatchError
from pipelines.batch.results import result_path
from pipelines.batch.running import BatchOptions, run_batch
from pipelines.batch.status import batch_status
from pipelines.batch.worker import BUSY, DONE, FAILED, run_step
from pipelines.frame import SequenceError
from pipelines.workspace import WorkspaceBusyError

QUICK = 0.05


@pytest.fixture
def did(monkeypatch):
    """What steps do is noted instead, in the order in which it is done; `broken` are units whose sequences cannot be read."""
    notes = []

    def do(plan, step, progress):
        progress(step.kind, 1, 1)
        notes.append(step.id)
        if step.unit.name.startswith("broken"):
            raise SequenceError(f"{step.unit.sequence}: no such file or folder")
        if step.unit.name.startswith("bug"):
            raise RuntimeError("index out of range")
        if step.kind == "map":
            folder = plan.run_folder(step.unit)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "manifest.json").write_text("{}")
        return {"stages": {"fuse": {"summary": {"frames": 5}, "warnings": ["left out: 7.png"]}}}

    monkeypatch.setattr(work, "WORK", dict.fromkeys(work.WORK, do))
    return notes


def run(plan, **options):
    return run_batch(plan.folder, SequentialExecutor(), BatchOptions(poll=QUICK, **options))


def test_all_is_done_once_and_then_nothing(tmp_path, did):
    plan = plan_of(tmp_path, ["a", {"path": "b", "pieces": 3}])
    statuses = run(plan)
    assert set(states_of(plan).values()) == {"done"}
    assert sorted(did) == sorted(plan.steps)
    for name, step in plan.steps.items():
        assert all(did.index(needed) < did.index(name) for needed in step.needs)
    assert list((plan.folder / "leases").iterdir()) == []
    assert batch_status(statuses).frames == 5 * len(plan.steps)
    log = (plan.folder / "logs" / "a.map.log").read_text()
    assert "map: 1/1" in log
    assert "warning: left out: 7.png" in log
    did.clear()
    run(plan)
    assert did == []


def test_what_fails_is_listed_and_stops_nothing_else(tmp_path, did):
    plan = plan_of(tmp_path, ["a", {"path": "broken", "pieces": 2}, "bug", "c"])
    statuses = run(plan)
    assert lines_of(statuses) == {
        "broken.prepare": f"{tmp_path}/broken: no such file or folder",
        "bug.map": f"RuntimeError: index out of range; a bug, its traceback is in {plan.folder}/logs/bug.map.log",
    }
    assert "Traceback" in (plan.folder / "logs" / "bug.map.log").read_text()
    assert statuses["broken.map"].state == "blocked"
    found = batch_status(statuses)
    assert (found.sequences, found.done, found.waiting) == (4, 2, 0)
    assert [(failed.name, failed.step) for failed in found.failed] == [("broken", "prepare"), ("bug", "map")]
    assert found.seconds_left == 0
    did.clear()
    run(plan)
    assert did == []


def test_retry_does_the_failed_again_and_a_changed_plan_what_changed(tmp_path, did):
    plan = plan_of(tmp_path, ["a", {"path": "broken", "pieces": 2}])
    run(plan)
    did.clear()
    run(plan, retry=True)
    assert did == ["broken.prepare"]
    did.clear()
    plan = plan_of(tmp_path, ["a", {"path": "mended", "name": "broken_no_more", "pieces": 2}])
    run(plan)
    assert not any(name.startswith("a.") for name in did)
    did.clear()
    plan = plan_of(tmp_path, [{"path": "a", "set": ["frames.stride=2"]}])
    run(plan)
    assert did == ["a.map"]


def test_a_map_that_was_removed_is_made_again(tmp_path, did):
    plan = plan_of(tmp_path, ["a", {"path": "b", "pieces": 2}])
    run(plan)
    did.clear()
    (plan.folder / "runs" / "b" / "manifest.json").unlink()
    run(plan)
    assert sorted(did) == sorted(name for name in plan.steps if name.startswith("b."))


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"step": "a.map"}'])
def test_a_damaged_result_counts_as_none(tmp_path, did, damage):
    plan = plan_of(tmp_path, ["a"])
    run(plan)
    result_path(plan.folder / "results", "a.map").write_text(damage)
    run(plan)
    assert did == ["a.map", "a.map"]
    assert states_of(plan) == {"a.map": "done"}


def test_shards_begin_with_their_own_and_help_with_the_rest(tmp_path, did):
    plan = plan_of(tmp_path, ["a", "b", "c", "d", "e"])
    run(plan, shard=(1, 2))
    assert did == ["b.map", "d.map", "a.map", "c.map", "e.map"]


def test_two_loops_do_each_step_once(tmp_path, did):
    plan = plan_of(tmp_path, [{"path": name, "pieces": 4} for name in "abc"])
    ends = []
    threads = [
        threading.Thread(target=lambda shard=shard: ends.append(run(plan, shard=(shard, 2)))) for shard in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(did) == sorted(plan.steps)
    assert len(ends) == 2


def test_what_ended_before_its_lease_was_taken_is_not_done_again(tmp_path, did):
    """Another worker ended the step, and removed its leases, after this one had looked."""
    plan = plan_of(tmp_path, ["a", "broken"])
    assert [run_step(str(plan.folder), name, 1) for name in ("a.map", "broken.map")] == [DONE, FAILED]
    assert [run_step(str(plan.folder), name, 1) for name in ("a.map", "broken.map")] == [DONE, FAILED]
    assert did == ["a.map", "broken.map"]
    assert list((plan.folder / "leases").iterdir()) == []


def test_what_a_dead_worker_left_is_taken(tmp_path, did, monkeypatch):
    plan = plan_of(tmp_path, ["a"])
    lease_path(plan.folder / "leases", "a.map", 1).write_bytes(b"of another machine")
    assert run_step(str(plan.folder), "a.map", 1) == BUSY
    run(plan, watch=quick_watch())
    assert did == ["a.map"]
    assert "once more" in (plan.folder / "logs" / "a.map.log").read_text()
    assert list((plan.folder / "leases").iterdir()) == []


def test_what_kills_its_workers_is_given_up(tmp_path, did):
    plan = plan_of(tmp_path, ["a", "b"])
    assert HeldLease(plan.folder / "leases", "a.map", MOST_DEATHS).take()
    path = lease_path(plan.folder / "leases", "a.map", MOST_DEATHS)
    data = json.loads(path.read_text())
    data["holder"]["started"] = "1"  # a process that has ended
    path.write_text(json.dumps(data | {"stage": "fuse", "done": 3, "total": 9}))
    statuses = run(plan)
    assert did == ["b.map"]
    assert "3 workers ended without a word while they did this" in lines_of(statuses)["a.map"]
    assert "at fuse 3/9; is there enough memory?" in lines_of(statuses)["a.map"]
    run(plan, retry=True)
    assert did == ["b.map", "a.map"]


def test_a_run_folder_in_which_another_is_at_work_is_waited_for(tmp_path, did, monkeypatch):
    plan = plan_of(tmp_path, ["a"])
    do, tries = work.WORK["map"], []

    def busy(plan, step, progress):
        tries.append(1)
        if len(tries) < 3:
            raise WorkspaceBusyError("another run is at work in it")
        return do(plan, step, progress)

    monkeypatch.setitem(work.WORK, "map", busy)
    run(plan)
    assert len(tries) == 3
    assert states_of(plan) == {"a.map": "done"}


def test_a_worker_that_lost_its_lease_writes_no_result(tmp_path, did, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.02)
    plan = plan_of(tmp_path, ["a"])

    def slow(plan, step, progress):
        lease_path(plan.folder / "leases", "a.map", 2).write_bytes(b"another one has it")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            time.sleep(0.02)
            progress("fuse", 1, 9)
        raise AssertionError("it was not stopped")

    monkeypatch.setitem(work.WORK, "map", slow)
    assert run_step(str(plan.folder), "a.map", 1) == BUSY
    assert list((plan.folder / "results").iterdir()) == []
    assert states_of(plan) == {"a.map": "running"}


def test_an_interrupt_gives_the_lease_back(tmp_path, did, monkeypatch):
    plan = plan_of(tmp_path, ["a", "b"])

    def interrupted(plan, step, progress):
        raise KeyboardInterrupt

    monkeypatch.setitem(work.WORK, "map", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(plan)
    assert list((plan.folder / "leases").iterdir()) == []
    assert set(states_of(plan).values()) == {"ready"}


def test_workers_that_cannot_begin_end_the_loop(tmp_path, did):
    class Useless(SequentialExecutor):
        def submit(self, fn, *args):
            return super().submit(divmod, 1, 0)

    plan = plan_of(tmp_path, ["a"])
    with pytest.raises(BatchError, match=r"a\.map: workers fail before they begin it: .*division"):
        run_batch(plan.folder, Useless(), BatchOptions(poll=0.01))


def test_too_little_memory_keeps_workers_waiting(tmp_path, did, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    from pipelines.batch import running

    plan = plan_of(tmp_path, list("abcdef"))
    at_once, most, do = [], [], work.WORK["map"]

    def counted(plan, step, progress):
        at_once.append(step.id)
        most.append(len(at_once))
        time.sleep(0.1)
        at_once.remove(step.id)
        return do(plan, step, progress)

    monkeypatch.setitem(work.WORK, "map", counted)
    monkeypatch.setattr(running, "available_bytes", lambda: 1 << 20)
    run_batch(plan.folder, ThreadPoolExecutor(4), BatchOptions(workers=4, poll=QUICK))
    assert max(most) == 1
    assert len(did) == 6


def test_the_time_left_follows_from_what_was_done(tmp_path, did):
    plan = plan_of(tmp_path, list("abcd"))
    board = Board(plan)
    assert batch_status(board.read()).seconds_left is None
    assert run_step(str(plan.folder), "a.map", 1) == "done"
    path = result_path(plan.folder / "results", "a.map")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 40.0}))
    assert HeldLease(plan.folder / "leases", "b.map", 1).take()
    assert HeldLease(plan.folder / "leases", "c.map", 1).take()
    found = batch_status(board.read())
    assert (found.done, len(found.running), found.waiting) == (1, 2, 1)
    assert found.seconds_left == pytest.approx(3 * 40 / 2, abs=2)
