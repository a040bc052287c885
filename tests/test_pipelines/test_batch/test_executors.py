"""One contract for all executors: submit, map, cancel, errors, and a worker that is killed."""

import os
import subprocess
import time
from concurrent.futures import BrokenExecutor, wait
from pathlib import Path

import pytest

from mapping.threads import THREADS_VARIABLE
from pipelines.batch.executors import EXECUTORS, ProcessExecutor, WorkerRequest
from pipelines.batch.listing import BatchError
from pipelines.plugins import resolve

WORKERS, THREADS = 2, 3


@pytest.fixture(scope="module", params=EXECUTORS)
def executor(request):
    if request.param == "dask":
        pytest.importorskip("distributed")
    made = resolve(request.param, EXECUTORS)(WorkerRequest(WORKERS, THREADS))
    yield made
    made.shutdown()


def is_sequential(executor):
    return type(executor).__name__ == "SequentialExecutor"


def test_results_come_back(executor):
    futures = [executor.submit(pow, number, 2) for number in range(6)]
    assert [future.result(timeout=100) for future in futures] == [0, 1, 4, 9, 16, 25]


def test_map_is_in_order(executor):
    assert list(executor.map(pow, range(5), [2] * 5)) == [0, 1, 4, 9, 16]


def test_the_same_call_is_made_each_time(executor):
    assert len({executor.submit(time.perf_counter).result(timeout=100) for _ in range(3)}) == 3


def test_errors_are_those_of_the_function(executor):
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result(timeout=100)
    assert executor.submit(abs, -1).result(timeout=100) == 1


def test_workers_are_processes_with_their_threads(executor):
    if is_sequential(executor):
        assert executor.submit(os.getpid).result() == os.getpid()
        return
    assert executor.submit(os.getpid).result(timeout=100) != os.getpid()
    assert executor.submit(os.getenv, THREADS_VARIABLE).result(timeout=100) == str(THREADS)
    assert os.getenv(THREADS_VARIABLE) is None


def test_what_has_not_begun_can_be_cancelled(executor, tmp_path):
    if is_sequential(executor):
        assert not executor.submit(abs, 1).cancel()
        return
    until = ["sh", "-c", f"while [ ! -e '{tmp_path}/go' ]; do sleep 0.1; done"]
    busy = [executor.submit(subprocess.check_call, until) for _ in range(WORKERS)]
    later = [executor.submit(Path.touch, tmp_path / str(number)) for number in range(12)]  # some are handed out ahead
    try:
        assert later[-1].cancel()
        assert later[-1].cancelled()
        time.sleep(1)  # a scheduler hears of it a moment later
    finally:  # else the executor would wait for ever
        (tmp_path / "go").touch()
    wait([*busy, *later], timeout=100)
    assert not (tmp_path / "11").exists()
    assert (tmp_path / "0").exists()


def test_a_killed_worker_takes_only_its_own_call_with_it():
    executor = ProcessExecutor(WorkerRequest(WORKERS, 1))
    try:
        other = executor.submit(time.sleep, 2)
        killed = executor.submit(os._exit, 9)
        with pytest.raises(Exception, match="terminated abruptly"):
            killed.result(timeout=100)
        assert other.result(timeout=100) is None
        assert [executor.submit(abs, -n).result(timeout=100) for n in range(4)] == [0, 1, 2, 3]
    finally:
        executor.shutdown()


def test_ending_at_once_kills_what_runs():
    executor = ProcessExecutor(WorkerRequest(1, 1))
    pid = executor.submit(os.getpid).result(timeout=100)
    running, *waiting = [executor.submit(time.sleep, 1000) for _ in range(4)]
    end = time.monotonic() + 100
    while not running.running() and time.monotonic() < end:
        time.sleep(0.01)
    executor.shutdown(wait=False)
    with pytest.raises(BrokenExecutor):
        running.result(timeout=100)
    assert waiting[-1].cancelled()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(abs, 1)


def test_a_missing_scheduler_is_named(monkeypatch):
    pytest.importorskip("distributed")
    from pipelines.batch import dask_workers

    monkeypatch.setattr(dask_workers, "START_SECONDS", 1)
    with pytest.raises(BatchError, match=r"--scheduler tcp://127.0.0.1:9: no Dask scheduler answers there"):
        dask_workers.DaskExecutor(WorkerRequest(1, 1, "tcp://127.0.0.1:9"))
