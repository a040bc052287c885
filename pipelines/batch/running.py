"""Doing a batch: steps that can be begun are given to an executor until everything is done or has failed.

Any number of these loops may work on one plan at a time, each with its own executor. They do not talk to each other: leases keep
them from doing a step twice, and what one leaves, by its end or its death, the others take.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mapping.available_memory import available_bytes
from mapping.files import remove_abandoned
from pipelines.batch.board import MOST_DEATHS, Board, StepStatus, is_finished, under_way
from pipelines.batch.executors import Executor
from pipelines.batch.leases import LeaseWatch, give_back, read_leases
from pipelines.batch.listing import BatchError
from pipelines.batch.plan import FOLDERS, Plan, read_plan
from pipelines.batch.worker import BUSY, run_step
from pipelines.errors import one_line

POLL_SECONDS = 1.0
"""Between two looks at what others did."""
MEMORY_PER_WORKER = 1536 << 20
"""Bytes that a worker is expected to need before any step of the plan has been measured."""
MARGIN = 1.2
"""Of the expected memory over the most that a step has needed so far."""
Report = Callable[[Mapping[str, StepStatus]], None]


@dataclass(frozen=True)
class BatchOptions:
    """How a loop works: `workers` steps at a time; of n loops it is number `shard[0]`, which begins with its share of the units.

    `is_local` says that workers take memory of this machine, so that none is given a step while there is too little.
    """

    workers: int = 1
    shard: tuple[int, int] = (0, 1)
    retry: bool = False
    is_local: bool = True
    poll: float = POLL_SECONDS
    watch: LeaseWatch = field(default_factory=LeaseWatch)


def run_batch(
    folder: Path, executor: Executor, options: BatchOptions, report: Report = lambda statuses: None
) -> dict[str, StepStatus]:
    """Do all that is left of the plan in `folder`, and return the state of all steps when nothing is left, of others' steps too.

    With `options.retry` units that failed before are tried again. `report` gets the state of all steps again and again. When
    it is interrupted, what runs is ended and its leases are given back. Raises BatchError and OSError about the plan's files.
    """
    plan = read_plan(folder)
    for name in FOLDERS[1:]:
        remove_abandoned(plan.path(name))
    board = Board(plan, options.watch, records=True)
    board.forget(failed=options.retry)
    loop = _Loop(plan, board, executor, options, report)
    try:
        statuses = loop.run()
    except BaseException:
        executor.shutdown(wait=False)
        loop.give_back()
        raise
    executor.shutdown()
    return statuses


@dataclass
class _Loop:
    plan: Plan
    board: Board
    executor: Executor
    options: BatchOptions
    report: Report
    running: dict[Future[Any], str] = field(default_factory=dict)
    later: dict[str, float] = field(default_factory=dict)
    """By step that another worker has: when it is looked at again."""
    broken: Counter[str] = field(default_factory=Counter)
    """Calls without an answer, by step."""

    def run(self) -> dict[str, StepStatus]:
        order = self._order()
        while True:
            statuses = self._read()
            if is_finished(statuses, self.running.values()):
                self.report(statuses)
                return statuses
            for name in order:
                if len(self.running) >= self.options.workers:
                    break
                if self._may_begin(statuses[name], statuses):
                    self._begin(statuses[name])
                    statuses[name] = under_way(statuses[name])
            self.report(statuses)
            self._wait()

    def give_back(self) -> None:
        """Give back the leases of steps whose workers were ended."""
        leases = read_leases(self.plan.path("leases"), list(self.running.values()))
        for lease in leases.values():
            give_back(self.plan.path("leases"), lease)

    def _order(self) -> list[str]:
        """All steps, those of this loop's own units first."""
        number, count = self.options.shard
        place = {unit.name: index for index, unit in enumerate(self.plan.units)}
        return sorted(self.plan.steps, key=lambda name: (place[self.plan.steps[name].unit.name] - number) % count)

    def _read(self) -> dict[str, StepStatus]:
        statuses = self.board.read()
        for name in self.running.values():
            if statuses[name].state == "ready":
                statuses[name] = under_way(statuses[name])
        return statuses

    def _may_begin(self, status: StepStatus, statuses: Mapping[str, StepStatus]) -> bool:
        if status.state != "ready" or time.monotonic() < self.later.get(status.step.id, 0.0):
            return False
        if not self.running or not self.options.is_local:
            return True
        measured = [each.result.peak_memory_mb for each in statuses.values() if each.result is not None]
        most = max(measured, default=0.0) * 2**20
        return available_bytes() > (MARGIN * most or MEMORY_PER_WORKER)

    def _begin(self, status: StepStatus) -> None:
        future = self.executor.submit(run_step, str(self.plan.folder), status.step.id, status.next_lease)
        self.running[future] = status.step.id

    def _wait(self) -> None:
        """Until one of the own steps has ended, or it is time to look at what others did."""
        if not self.running:
            time.sleep(self.options.poll)
            return
        ended, _ = wait(list(self.running), timeout=self.options.poll, return_when=FIRST_COMPLETED)
        for future in ended:
            step = self.running.pop(future)
            try:
                outcome = future.result()
            except Exception as error:  # its worker is gone, which the lease shows; or it cannot even begin
                outcome = BUSY
                self.broken[step] += 1
                if self.broken[step] > 2 * MOST_DEATHS:  # deaths during the step are counted by its leases
                    raise BatchError(f"{step}: workers fail before they begin it: {one_line(error)}") from error
            if outcome == BUSY:
                self.later[step] = time.monotonic() + self.options.poll
