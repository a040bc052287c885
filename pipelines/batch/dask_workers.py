"""Workers of Dask: those of a scheduler that is running somewhere, or of a cluster on this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from pipelines.batch.executors import WorkerRequest
from pipelines.batch.listing import BatchError

START_SECONDS = 60


class DaskExecutor:
    """`client.get_executor()` of the cluster at `request.address`, or of a LocalCluster of processes that ends with it.

    Raises BatchError where Dask is not installed or its scheduler does not answer.
    """

    def __init__(self, request: WorkerRequest) -> None:
        try:
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise BatchError("--executor dask: needs Dask: pip install 'm2h-mapping[dask]'") from error
        logging.getLogger("distributed").setLevel(logging.WARNING)  # its import made it report every connection
        self._cluster = None
        if request.address is None:
            self._cluster = LocalCluster(
                n_workers=request.workers,
                threads_per_worker=1,  # a call has the process for itself; it has threads of its own
                processes=True,
                dashboard_address="127.0.0.1:0",  # any port, of this machine only
                silence_logs=logging.ERROR,
                memory_limit=0,  # by our own measure; Dask's would kill a worker that is merely large
                env=request.environment,
            )
        try:
            self._client = Client(self._cluster or request.address, timeout=START_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise BatchError(f"--scheduler {request.address}: no Dask scheduler answers there ({error})") from error
        self._executor = self._client.get_executor(pure=False, retries=0)

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """The future of a call by a worker of the cluster."""
        future: Future[Any] = self._executor.submit(fn, *args)
        return future

    def map(self, fn: Callable[..., Any], /, *iterables: Iterable[Any]) -> Iterator[Any]:
        """The results in order."""
        results: Iterator[Any] = self._executor.map(fn, *iterables)
        return results

    def shutdown(self, *, wait: bool = True) -> None:
        """End it, and with it the cluster on this machine; another one goes on running."""
        self._executor.shutdown(wait=wait)
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()
