"""Leases: which worker does which step, agreed on by files in the shared folder, without a server.

The n-th worker that takes a step creates `leases/STEP.n.json`. Only one can, on whichever machines they are (`create_file`), and
nobody ever removes or renames the lease of another, so there is no moment at which two believe that they took it. Its holder
rewrites its own lease every few seconds. When a lease is dead, the next number may be taken: its process has ended on this
machine, or an observer saw the file unchanged for `EXPIRY_SECONDS` of its own clock; clocks of machines are never compared. A
holder that was only slow finds the next number and gives up. Should both work for a moment nevertheless, no harm is done: steps
are deterministic and write whole files, so both write the same bytes.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mapping.files import create_file, is_temporary, remove_file, write_bytes_atomic
from mapping.reading.documents import parse_json
from mapping.reading.files import read_bytes
from pipelines.batch.processes import ProcessName, is_gone, this_process

BEAT_SECONDS = 5.0
EXPIRY_SECONDS = 60.0
"""Without a beat. Long compared with the seconds for which a file server may show an old state."""
LARGEST_LEASE = 1 << 16


class LeaseLostError(Exception):
    """Raised in a worker whose lease another one has taken."""


class LeaseFileError(ValueError):
    """A lease that cannot be read, which means that its holder is unknown."""


@dataclass(frozen=True)
class LeaseState:
    """A lease as an observer reads it: who holds it, how far the step is, and when that was, by the holder's clock."""

    step: str
    number: int
    raw: bytes
    holder: ProcessName | None = None
    stage: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    """Since the step was begun."""


class HeldLease:
    """A lease of this process; use as a context manager: it beats meanwhile and is given back at the end.

    `note` is the progress callback of a run: what it says goes into the lease, and it raises LeaseLostError when the step was
    taken by another. `each_beat` is called, in another thread, whenever the lease is rewritten.
    """

    def __init__(self, folder: Path, step: str, number: int, each_beat: Callable[[], None] = lambda: None) -> None:
        self._folder, self._step, self._number = folder, step, number
        self._each_beat = each_beat
        self._start = time.monotonic()
        self._progress = ("", 0, 0)
        self._beats = 0
        self._lost, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name=f"lease {step}", daemon=True)

    def take(self) -> bool:
        """Whether this process has the lease now; False when another one was first."""
        return create_file(lease_path(self._folder, self._step, self._number), self._contents())

    def note(self, what: str, done: int, total: int) -> None:
        """Note how far the step is; raises LeaseLostError."""
        self._progress = (what, done, total)
        self.check()

    def check(self) -> None:
        """Raises LeaseLostError when another worker has the step now."""
        if self._lost.is_set():
            raise LeaseLostError(self._step)

    def __enter__(self) -> HeldLease:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._stop.set()
        self._thread.join()
        if not self._lost.is_set():
            remove_file(lease_path(self._folder, self._step, self._number))

    def _beat_on(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            path = lease_path(self._folder, self._step, self._number)
            if lease_path(self._folder, self._step, self._number + 1).exists() or not path.exists():
                self._lost.set()  # taken by another, who may even have done the step and removed all leases of it
                return
            with suppress(OSError):  # a file server that is away for a moment: others see no beat
                self._beats += 1
                write_bytes_atomic(path, self._contents(), durable=False)
                self._each_beat()

    def _contents(self) -> bytes:
        stage, done, total = self._progress
        data = {
            "holder": this_process().to_data(),
            "stage": stage,
            "done": done,
            "total": total,
            "seconds": round(time.monotonic() - self._start, 1),
            "beats": self._beats,
        }
        return (json.dumps(data) + "\n").encode()


@dataclass
class LeaseWatch:
    """What an observer knows of leases: since when each has been as it is."""

    expiry: float = EXPIRY_SECONDS
    _unchanged: dict[tuple[str, int], tuple[bytes, float]] = field(default_factory=dict)

    def is_dead(self, lease: LeaseState) -> bool:
        """Whether its holder is gone: known to have ended, or without a beat for as long as it was watched, the expiry."""
        if lease.holder is not None and is_gone(lease.holder):
            return True
        now, which = time.monotonic(), (lease.step, lease.number)
        raw, since = self._unchanged.setdefault(which, (lease.raw, now))
        if raw != lease.raw:
            self._unchanged[which] = (lease.raw, now)
            return False
        return now - since > self.expiry


def lease_path(folder: Path, step: str, number: int) -> Path:
    """The file of the n-th lease of a step."""
    return folder / f"{step}.{number}.json"


def read_leases(folder: Path, steps: Iterable[str] | None = None) -> dict[str, LeaseState]:
    """The latest lease of each step that has one, of all or of these."""
    latest: dict[str, int] = {}
    wanted = None if steps is None else set(steps)
    for path in folder.iterdir():
        step, _, number = path.name.removesuffix(".json").rpartition(".")
        if not is_temporary(path.name) and number.isdecimal() and (wanted is None or step in wanted):
            latest[step] = max(latest.get(step, 0), int(number))
    found = {step: _read(folder, step, number) for step, number in latest.items()}
    return {step: lease for step, lease in found.items() if lease is not None}


def remove_leases(folder: Path, step: str, last: int) -> None:
    """Remove all leases of a step that is settled."""
    for number in range(1, last + 1):
        remove_file(lease_path(folder, step, number))


def give_back(folder: Path, lease: LeaseState) -> None:
    """Give back the lease of a process that was ended on purpose, which then does not count as one that died of the step."""
    if lease.holder is not None and is_gone(lease.holder):
        remove_file(lease_path(folder, lease.step, lease.number))


def _read(folder: Path, step: str, number: int) -> LeaseState | None:
    path = lease_path(folder, step, number)
    try:
        raw = read_bytes(path, LeaseFileError, most=LARGEST_LEASE)
    except LeaseFileError:
        return LeaseState(step, number, b"") if path.exists() else None  # given back meanwhile
    try:
        return _parsed(
            LeaseState(step, number, raw), parse_json(raw.decode("utf-8", "replace"), str(path), LeaseFileError)
        )
    except (LeaseFileError, KeyError, TypeError, ValueError):
        return LeaseState(step, number, raw)


def _parsed(lease: LeaseState, data: Any) -> LeaseState:
    holder = data["holder"]
    names = {name: str(holder[name]) for name in ("host", "boot", "namespace", "started")}
    return LeaseState(
        lease.step,
        lease.number,
        lease.raw,
        ProcessName(pid=int(holder["pid"]), **names),
        str(data["stage"]),
        int(data["done"]),
        int(data["total"]),
        float(data["seconds"]),
    )
