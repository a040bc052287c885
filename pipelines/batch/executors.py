"""Executors: what runs functions, here, in processes, or on a cluster. The protocol is that of `concurrent.futures`.

Anything that keeps it will do, `client.get_executor()` of Dask among them: work is given by plain text and numbers, what came of
it is in the shared folder, and a worker that is lost loses nothing but time.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from mapping.threads import THREADS_VARIABLE
from pipelines.batch.listing import BatchError
from pipelines.plugins import resolve

LIBRARY_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables by which libraries are told how many threads they have."""


class Executor(Protocol):
    """Runs functions. `submit` returns a future, whose `cancel` is True where the call will not be made."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Have `fn(*args)` called."""

    def map(self, fn: Callable[..., Any], /, *iterables: Iterable[Any]) -> Iterator[Any]:
        """The results of a call for each row of the iterables, in order."""

    def shutdown(self, *, wait: bool = True) -> None:
        """End it, after all calls; without `wait` at once, so that calls that have not begun are not made."""


@dataclass(frozen=True)
class WorkerRequest:
    """How many workers are wanted, with how many threads each; `address` is that of a server that has them, if there is one."""

    workers: int
    threads: int
    address: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which a worker process keeps to its threads."""
        return dict.fromkeys((THREADS_VARIABLE, *LIBRARY_THREADS), str(self.threads))


class SequentialExecutor:
    """Calls functions when they are submitted, in this process: for debugging, and where a scheduler gives single processes."""

    def __init__(self, request: WorkerRequest | None = None) -> None:
        self._ended = False

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """The future of a call that has been made."""
        if self._ended:
            raise RuntimeError("the executor has been shut down")
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args))
        except Exception as error:  # KeyboardInterrupt is for the caller
            future.set_exception(error)
        return future

    def map(self, fn: Callable[..., Any], /, *iterables: Iterable[Any]) -> Iterator[Any]:
        """The results, each computed when it is asked for."""
        return map(fn, *iterables)

    def shutdown(self, *, wait: bool = True) -> None:
        """Accept no more calls."""
        self._ended = True


class ProcessExecutor:
    """Spawned processes, each a pool of its own: when one is killed, its call alone fails, and a new one takes its place."""

    def __init__(self, request: WorkerRequest) -> None:
        self._request = request
        self._lock = threading.Lock()
        self._pools: list[ProcessPoolExecutor | None] = [None] * request.workers
        self._waiting = [0] * request.workers
        self._ended = False

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Have a call made by the process with the fewest calls; its future raises BrokenExecutor when that is killed."""
        with self._lock:
            if self._ended:
                raise RuntimeError("the executor has been shut down")
            chosen = min(range(len(self._pools)), key=self._waiting.__getitem__)
            self._waiting[chosen] += 1
            try:
                future = self._pool(chosen).submit(fn, *args)
            except BrokenExecutor:
                self._pools[chosen] = None
                future = self._pool(chosen).submit(fn, *args)
        future.add_done_callback(lambda _: self._done(chosen))
        return future

    def map(self, fn: Callable[..., Any], /, *iterables: Iterable[Any]) -> Iterator[Any]:
        """The results in order; all calls are submitted at once."""
        futures = [self.submit(fn, *row) for row in zip(*iterables, strict=False)]
        return (future.result() for future in futures)

    def shutdown(self, *, wait: bool = True) -> None:
        """End all processes; without `wait` they are killed in what they do."""
        with self._lock:
            self._ended = True
            pools = [pool for pool in self._pools if pool is not None]
        for pool in pools:
            processes = list((pool._processes or {}).values())
            if not wait:
                for process in processes:
                    process.kill()
            pool.shutdown(wait=True, cancel_futures=not wait)

    def _pool(self, number: int) -> ProcessPoolExecutor:
        pool = self._pools[number]
        if pool is None:
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(1, context, initializer=_prepare)
            self._pools[number] = pool
            with _environment(self._request.environment):
                pool.submit(_nothing)  # starts the process, which keeps the environment of this moment
        return pool

    def _done(self, number: int) -> None:
        with self._lock:
            self._waiting[number] -= 1


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables of the environment that are set within a block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _nothing() -> None:
    pass


def _prepare() -> None:
    """In a new process: Ctrl-C is for the parent, and when that is gone, however it ended, this process ends too."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    above = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if above is not None:
            above.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, name="parent", daemon=True).start()


EXECUTORS = {
    "sequential": "pipelines.batch.executors:SequentialExecutor",
    "processes": "pipelines.batch.executors:ProcessExecutor",
    "dask": "pipelines.batch.dask_workers:DaskExecutor",
}
"""What `--executor` may name: called with a WorkerRequest they give an Executor."""


def open_executor(name: str, request: WorkerRequest) -> Executor:
    """The executor of that name, or that `module:function` returns for the request.

    Raises BatchError that lists the known names, and what it raises where its workers cannot be had.
    """
    try:
        make = resolve(name, EXECUTORS)
    except ValueError as error:
        raise BatchError(f"--executor {name}: {error}") from error
    executor: Executor = make(request)
    return executor
