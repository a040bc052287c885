"""Leases: one worker has a step; what a dead one had, the next takes; a slow one notices."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from batch_worlds import quick_watch

from pipelines.batch import leases, processes
from pipelines.batch.leases import HeldLease, LeaseLostError, LeaseWatch, lease_path, read_leases, remove_leases
from pipelines.batch.processes import is_gone, this_process


@pytest.fixture
def quick_beats(monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_of_many_workers_one_gets_a_step(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: HeldLease(tmp_path, "a.map", 1).take(), range(30)))
    assert taken.count(True) == 1
    assert read_leases(tmp_path)["a.map"].holder == this_process()


def test_a_lease_beats_says_how_far_it_is_and_is_given_back(tmp_path, quick_beats):
    lease, beats = HeldLease(tmp_path, "a.map", 1, lambda: beats.append(1)), []
    assert lease.take()
    with lease:
        lease.note("fuse", 3, 7)
        until(lambda: len(beats) > 2)
        state = read_leases(tmp_path)["a.map"]
        assert (state.stage, state.done, state.total) == ("fuse", 3, 7)
        assert not quick_watch().is_dead(state)
    assert list(tmp_path.iterdir()) == []


def test_a_lease_whose_process_has_ended_is_dead_at_once(tmp_path):
    code = (
        "import sys, pathlib\nfrom pipelines.batch.leases import HeldLease\n"
        "assert HeldLease(pathlib.Path(sys.argv[1]), 'a.map', 1).take()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    state = read_leases(tmp_path)["a.map"]
    assert LeaseWatch().is_dead(state)
    assert HeldLease(tmp_path, "a.map", state.number + 1).take()
    assert not LeaseWatch().is_dead(read_leases(tmp_path)["a.map"])


def test_of_other_machines_only_the_observers_clock_tells(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_place", lambda: ("elsewhere", "boot", "pids"))
    HeldLease(tmp_path, "a.map", 1).take()
    monkeypatch.undo()
    state, watch = read_leases(tmp_path)["a.map"], quick_watch()
    assert not is_gone(state.holder)
    assert not watch.is_dead(state)
    time.sleep(0.6)
    assert not watch.is_dead(replace(state, raw=b"another beat"))
    assert not watch.is_dead(replace(state, raw=b"another beat"))
    time.sleep(0.6)
    assert watch.is_dead(replace(state, raw=b"another beat"))


def test_a_process_of_a_later_boot_or_another_container_is_not_taken_for_this_one():
    mine = this_process()
    assert not is_gone(mine)
    assert is_gone(replace(mine, started="1"))  # its number was given to another process
    assert is_gone(replace(mine, pid=2**22 + 1))
    for other in ({"boot": "another"}, {"namespace": "pid:[1]"}, {"host": "another"}):
        assert not is_gone(replace(mine, pid=2**22 + 1, **other))


def test_a_process_that_waits_for_its_parent_is_gone():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = replace(this_process(), pid=child.pid, started=processes._started(child.pid))
    assert not is_gone(name)
    child.kill()
    until(lambda: is_gone(name))
    child.wait()


@pytest.mark.parametrize("how", ["taken", "settled"])
def test_a_slow_worker_notices_that_another_has_its_step(tmp_path, quick_beats, how):
    slow = HeldLease(tmp_path, "a.map", 1)
    assert slow.take()
    with slow:
        if how == "taken":
            assert HeldLease(tmp_path, "a.map", 2).take()
        else:
            remove_leases(tmp_path, "a.map", 2)
        with pytest.raises(LeaseLostError):
            until(lambda: slow.note("fuse", 1, 2))
    assert {path.name for path in tmp_path.iterdir()} == ({"a.map.1.json", "a.map.2.json"} if how == "taken" else set())


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"holder": 7}', os.urandom(200)])
def test_a_damaged_lease_counts_until_it_expires(tmp_path, damage):
    lease_path(tmp_path, "a.map", 3).write_bytes(damage)
    state, watch = read_leases(tmp_path)["a.map"], quick_watch()
    assert (state.number, state.holder) == (3, None)
    assert not watch.is_dead(state)
    time.sleep(0.6)
    assert watch.is_dead(state)
