"""What came of each step, one file per step: done, or failed with its line."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mapping.files import is_temporary, remove_file, write_text_atomic
from mapping.reading.documents import read_json

LARGEST = 1e15
"""Of a number in a result: larger ones are damage."""


class ResultFileError(ValueError):
    """A result that cannot be read; it counts as none."""


@dataclass(frozen=True)
class StepResult:
    """The end of a step: `line` is the error's where it failed, and empty where it is done. `key` is the step's, so that the
    result of an earlier plan does not count.

    Seconds of wall time, frames mapped, peak memory in MiB; `ended` is the time in seconds since 1970 by the worker's clock.
    """

    step: str
    key: str
    line: str
    worker: str
    seconds: float
    ended: float
    frames: int = 0
    peak_memory_mb: float = 0.0

    @property
    def is_done(self) -> bool:
        """Whether it ended well."""
        return not self.line


def result_path(folder: Path, step: str) -> Path:
    """The file with the result of a step."""
    return folder / f"{step}.json"


def write_result(folder: Path, result: StepResult) -> None:
    """Write a result, in place of an earlier one of the step."""
    write_text_atomic(result_path(folder, result.step), json.dumps(asdict(result), allow_nan=False) + "\n")


def read_result(folder: Path, step: str) -> StepResult | None:
    """What came of a step; None where it has not ended, or the file is damaged."""
    return _read(result_path(folder, step))


def remove_result(folder: Path, step: str) -> None:
    """Forget what came of a step."""
    remove_file(result_path(folder, step))


@dataclass
class ResultReader:
    """The results in a folder; each file is read once, and again when it was replaced."""

    folder: Path
    _known: dict[str, tuple[tuple[int, int], StepResult | None]] = field(default_factory=dict)

    def read(self) -> dict[str, StepResult]:
        """All results by step; a damaged one counts as none."""
        present = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if not is_temporary(entry.name) and entry.name.endswith(".json"):
                    try:
                        stat = entry.stat()
                    except FileNotFoundError:
                        continue
                    present[entry.name.removesuffix(".json")] = (stat.st_mtime_ns, stat.st_size)
        for step, state in present.items():
            if step not in self._known or self._known[step][0] != state:
                self._known[step] = (state, _read(result_path(self.folder, step)))
        self._known = {step: self._known[step] for step in present}
        return {step: result for step, (_, result) in self._known.items() if result is not None}


def _read(path: Path) -> StepResult | None:
    try:
        data = read_json(path, ResultFileError)
        return _parsed(data)
    except (ResultFileError, KeyError, TypeError, ValueError):
        return None


def _parsed(data: Any) -> StepResult:
    numbers = [float(data[name]) for name in ("seconds", "ended", "frames", "peak_memory_mb")]
    if not all(0 <= number < LARGEST for number in numbers):
        raise ResultFileError("numbers out of range")
    seconds, ended, frames, peak = numbers
    step, key, line, worker = (str(data[name]) for name in ("step", "key", "line", "worker"))
    return StepResult(step, key, line, worker, seconds, ended, int(frames), peak)
