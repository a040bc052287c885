"""How many workers this machine takes, and how many threads each of them."""

from __future__ import annotations

from mapping.available_memory import available_bytes
from mapping.cores import available_cores
from mapping.threads import MAX_THREADS
from pipelines.batch.executors import WorkerRequest
from pipelines.batch.running import MEMORY_PER_WORKER


def worker_request(workers: int | None, address: str | None = None) -> WorkerRequest:
    """Workers as wanted, or one per core as far as the memory goes; the cores are shared between them as threads.

    Steps have parts that one thread does, so several workers of one thread get more done than one of several.
    """
    cores = available_cores()
    if workers is None:
        workers = max(1, min(cores, available_bytes() // MEMORY_PER_WORKER))
    return WorkerRequest(workers, max(1, min(cores // workers, MAX_THREADS)), address)
