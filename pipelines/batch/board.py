"""Where a batch stands, from the files of its plan: what is done, failed, under way, and what can be begun."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pipelines.batch.leases import LeaseState, LeaseWatch, read_leases, remove_leases
from pipelines.batch.plan import Plan, Step
from pipelines.batch.results import ResultReader, StepResult, remove_result, write_result

MOST_DEATHS = 3
"""Workers that may end during a step without giving it back before the step counts as failed: it may be what kills them."""
State = Literal["done", "failed", "blocked", "running", "ready", "waiting"]


@dataclass(frozen=True)
class StepStatus:
    """The state of a step; `lease` is the latest one, of the worker that has it or that died, and `result` what came of it."""

    step: Step
    state: State
    lease: LeaseState | None = None
    result: StepResult | None = None

    @property
    def next_lease(self) -> int:
        """The number of the lease that the next worker takes."""
        return 1 if self.lease is None else self.lease.number + 1


@dataclass
class Board:
    """Reads the state of all steps again and again. With `records` steps that are given up are noted in the plan's results."""

    plan: Plan
    watch: LeaseWatch = field(default_factory=LeaseWatch)
    records: bool = False

    def __post_init__(self) -> None:
        self._results = ResultReader(self.plan.path("results"))

    def read(self) -> dict[str, StepStatus]:
        """The state of every step, in the order of the plan."""
        steps = self.plan.steps
        results = self._valid(self._results.read())
        leases = read_leases(self.plan.path("leases"), steps.keys() - results.keys())
        found: dict[str, StepStatus] = {}
        for name, step in steps.items():
            result, lease = results.get(name), leases.get(name)
            if result is None and lease is not None and lease.number >= MOST_DEATHS and self.watch.is_dead(lease):
                result = self._give_up(step, lease)
            found[name] = self._status(step, found, result, lease)
        return found

    def _valid(self, results: Mapping[str, StepResult]) -> dict[str, StepResult]:
        """Those of steps as they are planned now."""
        steps = self.plan.steps
        return {name: result for name, result in results.items() if name in steps and result.key == steps[name].key}

    def _status(
        self, step: Step, before: Mapping[str, StepStatus], result: StepResult | None, lease: LeaseState | None
    ) -> StepStatus:
        if result is not None:
            return StepStatus(step, "done" if result.is_done else "failed", lease, result)
        needed = [before[name].state for name in step.needs]
        if "failed" in needed or "blocked" in needed:
            return StepStatus(step, "blocked", lease)
        if any(state != "done" for state in needed):
            return StepStatus(step, "waiting", lease)
        if lease is None or self.watch.is_dead(lease):
            return StepStatus(step, "ready", lease)
        return StepStatus(step, "running", lease)

    def _give_up(self, step: Step, lease: LeaseState) -> StepResult:
        """Count a step as failed during which one worker after the other ended."""
        holder = lease.holder
        last = "an unknown worker" if holder is None else f"process {holder.pid} on {holder.host}"
        at = f" at {lease.stage} {lease.done}/{lease.total}" if lease.stage else ""
        line = f"{MOST_DEATHS} workers ended without a word while they did this, the last ({last}){at}; is there enough memory?"
        result = StepResult(step.id, step.key, line, last, lease.seconds, time.time())
        if self.records:
            write_result(self.plan.path("results"), result)
            remove_leases(self.plan.path("leases"), step.id, lease.number)
        return result

    def forget(self, *, failed: bool) -> None:
        """Forget what came of units whose map was done and is no longer there, and of those that `failed`; files are kept."""
        done = [status for status in self.read().values() if status.result is not None]
        names = {
            status.step.unit.name
            for status in done
            if (status.state == "failed" and failed) or (status.state == "done" and self._is_lost(status.step))
        }
        for status in done:
            if status.step.unit.name in names:
                remove_result(self.plan.path("results"), status.step.id)

    def _is_lost(self, step: Step) -> bool:
        return step.kind == "map" and not (self.plan.run_folder(step.unit) / "manifest.json").is_file()


def is_finished(statuses: Mapping[str, StepStatus], busy: Collection[str] = ()) -> bool:
    """Whether nothing is left to be done, by anyone; `busy` are steps that count as under way."""
    return not busy and all(status.state in ("done", "failed", "blocked") for status in statuses.values())


def under_way(status: StepStatus) -> StepStatus:
    """The same step, as one that was just begun."""
    return replace(status, state="running")
