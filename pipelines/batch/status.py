"""A batch in figures: its sequences by state, what is under way, what failed and why, and the time left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.batch.board import StepStatus


@dataclass(frozen=True)
class FailedStep:
    """A sequence that has no map: the step at which it failed, and the line."""

    name: str
    step: str
    line: str


@dataclass(frozen=True)
class RunningStep:
    """A step under way, its stage, and the worker that does it; seconds since it was begun."""

    name: str
    step: str
    stage: str
    done: int
    total: int
    worker: str
    seconds: float


@dataclass(frozen=True)
class BatchStatus:
    """Counts of sequences, details, and `seconds_left` at the present number of workers; None where nothing is known yet.

    `worker_seconds` is what all finished steps took together, `frames` what they mapped.
    """

    sequences: int
    done: int
    waiting: int
    running: tuple[RunningStep, ...]
    failed: tuple[FailedStep, ...]
    seconds_left: float | None
    worker_seconds: float
    frames: int
    peak_memory_mb: float

    def to_data(self) -> dict[str, Any]:
        """As one object of JSON."""
        return asdict(self)


def batch_status(statuses: Mapping[str, StepStatus]) -> BatchStatus:
    """The figures of the states of all steps."""
    by_unit: dict[str, list[StepStatus]] = defaultdict(list)
    for status in statuses.values():
        by_unit[status.step.unit.name].append(status)
    failed = [_failed(steps) for steps in by_unit.values() if any(status.state == "failed" for status in steps)]
    done = sum(all(status.state == "done" for status in steps) for steps in by_unit.values())
    running = [_running(status) for status in statuses.values() if status.state == "running"]
    at_work = {each.name for each in running}
    waiting = len(by_unit) - done - len(failed) - len(at_work - {each.name for each in failed})
    results = [status.result for status in statuses.values() if status.result is not None]
    return BatchStatus(
        len(by_unit),
        done,
        waiting,
        tuple(running),
        tuple(failed),
        seconds_left(statuses.values()),
        round(sum(result.seconds for result in results), 1),
        sum(result.frames for result in results if result.is_done),
        max((result.peak_memory_mb for result in results), default=0.0),
    )


def seconds_left(statuses: Iterable[StepStatus]) -> float | None:
    """Wall seconds until all is done: open steps take what those of their kind took on average, and are shared by the workers
    that are at work now, or one. None where no step of such a kind was done."""
    statuses = list(statuses)
    took: dict[str, list[float]] = defaultdict(list)
    for status in statuses:
        if status.result is not None and status.result.is_done:
            took[status.step.kind].append(status.result.seconds)
    work, workers = 0.0, 0
    for status in statuses:
        if status.state not in ("running", "ready", "waiting"):
            continue
        known = took[status.step.kind]
        if not known:
            return None
        mean = sum(known) / len(known)
        workers += status.state == "running"
        spent = status.lease.seconds if status.state == "running" and status.lease is not None else 0.0
        work += max(mean - spent, 0.0)
    return round(work / max(workers, 1), 1)


def _failed(steps: Iterable[StepStatus]) -> FailedStep:
    first = next(status for status in steps if status.state == "failed")
    assert first.result is not None
    return FailedStep(first.step.unit.name, first.step.kind, first.result.line)


def _running(status: StepStatus) -> RunningStep:
    lease, step = status.lease, status.step
    name = step.id.rpartition(".")[2]
    if lease is None:
        return RunningStep(step.unit.name, name, "", 0, 0, "", 0.0)
    worker = "" if lease.holder is None else f"process {lease.holder.pid} on {lease.holder.host}"
    return RunningStep(step.unit.name, name, lease.stage, lease.done, lease.total, worker, lease.seconds)
