"""What a worker does: one step under its lease, from the plan's folder alone, so that it may run anywhere.

`run_step` takes and returns plain text and numbers: that is all that an executor carries.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mapping.files import write_bytes_atomic
from pipelines.batch.leases import HeldLease, LeaseLostError, remove_leases
from pipelines.batch.plan import PLAN_FILE, Plan, Step, read_plan
from pipelines.batch.processes import this_process
from pipelines.batch.results import StepResult, read_result, write_result
from pipelines.errors import is_known, one_line
from pipelines.peak_memory import PeakMemory
from pipelines.workspace import WorkspaceBusyError

DONE, FAILED, BUSY = "done", "failed", "busy"


@dataclass
class StepLog:
    """The log of a step, PLAN/logs/STEP.log: when each stage was begun and ended, warnings, what went wrong."""

    path: Path
    lines: list[str] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)
    _stage: str = ""
    _saved: int = 0

    def add(self, text: str) -> None:
        """A line with the seconds since the step was begun."""
        self.lines.append(f"{time.monotonic() - self.start:8.1f} s  {text}")

    def note(self, what: str, done: int, total: int) -> None:
        """What progress says, as a line where a stage begins or ends."""
        if total == 0:
            self.add(f"{what}: up to date")
        elif what != self._stage or done >= total:
            self.add(f"{what}: {done}/{total}")
        self._stage = what

    def save(self) -> None:
        """Write the lines where there are new ones."""
        count = len(self.lines)
        if count != self._saved:
            text = "\n".join(self.lines[:count]) + "\n"
            write_bytes_atomic(self.path, text.encode("utf-8", "backslashreplace"), durable=False)
            self._saved = count


def run_step(folder: str, step_id: str, number: int) -> str:
    """Do a step of the plan in `folder`, with its lease of that number; returns DONE, FAILED, or BUSY where it could not be had.

    What came of it is in the plan's results, the line of an error too. Raises nothing that is about the step.
    """
    plan = load_plan(folder)
    step = plan.steps[step_id]
    log = StepLog(plan.path("logs") / f"{step_id}.log")
    lease = HeldLease(plan.path("leases"), step_id, number, log.save)
    if not lease.take():
        return BUSY
    with lease:
        ended = read_result(plan.path("results"), step_id)
        if ended is not None and ended.key == step.key:  # by another worker, between the look at the step and its lease
            return DONE if ended.is_done else FAILED
        log.add(
            f"begun by process {this_process().pid} on {this_process().host}" + (", once more" if number > 1 else "")
        )
        try:
            result = _result_of(plan, step, lease, log)
            lease.check()
        except (LeaseLostError, WorkspaceBusyError) as error:
            log.add("given up: another worker has it" if isinstance(error, LeaseLostError) else one_line(error))
            return BUSY
        finally:
            log.save()
        write_result(plan.path("results"), result)
    remove_leases(plan.path("leases"), step_id, number)
    return DONE if result.is_done else FAILED


def load_plan(folder: str) -> Plan:
    """The plan of a folder, read again when its file has changed."""
    path = Path(folder) / PLAN_FILE
    stat = path.stat()
    return _read_once(folder, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _read_once(folder: str, changed: int, size: int) -> Plan:
    return read_plan(Path(folder))


def _result_of(plan: Plan, step: Step, lease: HeldLease, log: StepLog) -> StepResult:
    """Do the step; an error that is about it becomes its result."""
    from pipelines.batch.work import WORK  # loads all that a run needs, which who gives out the steps does not

    holder, start = this_process(), time.monotonic()

    def progress(what: str, done: int, total: int) -> None:
        log.note(what, done, total)
        lease.note(what, done, total)

    manifest: dict[str, Any] = {}
    line = ""
    with PeakMemory() as memory:
        try:
            manifest = WORK[step.kind](plan, step, progress)
        except (LeaseLostError, WorkspaceBusyError):
            raise
        except Exception as error:
            line = one_line(error)
            if not is_known(error):
                line = f"{type(error).__name__}: {line}; a bug, its traceback is in {log.path}"
                log.lines += traceback.format_exc().splitlines()
    log.add(line or "done")
    for warning in _warnings(manifest):
        log.add(f"warning: {warning}")
    frames = manifest.get("stages", {}).get("fuse", {}).get("summary", {}).get("frames", 0)
    return StepResult(
        step.id,
        step.key,
        line,
        f"process {holder.pid} on {holder.host}",
        round(time.monotonic() - start, 2),
        time.time(),
        int(frames),
        round(memory.mib, 1),
    )


def _warnings(manifest: dict[str, Any]) -> list[str]:
    return [text for stage in manifest.get("stages", {}).values() for text in stage["warnings"]]
