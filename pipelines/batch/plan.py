"""The plan of a batch: what is to be done, as data in a folder that all workers share.

PLAN/plan.json has the units and their settings; the steps follow from it. PLAN/runs/NAME are the run folders, PLAN/results what
came of each step, PLAN/leases who is at work on what, PLAN/logs what they reported, PLAN/pieces volumes that are not joined yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from mapping.files import make_folder, write_text_atomic
from mapping.reading.documents import read_json
from pipelines.batch.listing import BatchError, Unit, read_list, unit_from_data, unit_to_data
from pipelines.config import config_from_mapping
from pipelines.settings import PipelineConfig
from pipelines.workspace import digest

FORMAT, VERSION = "m2h-batch-plan", 1
PLAN_FILE = "plan.json"
FOLDERS = ("runs", "results", "leases", "logs", "pieces")
Kind = Literal["map", "prepare", "fuse", "sum", "labels"]


@dataclass(frozen=True)
class Step:
    """One piece of work, done by one worker: of a unit, after the steps that it `needs`, on the pieces `first` up to `stop`.

    `key` is what its result depends on in the plan.
    """

    id: str
    kind: Kind
    unit: Unit
    key: str
    needs: tuple[str, ...] = ()
    first: int = 0
    stop: int = 0


@dataclass(frozen=True)
class Plan:
    """A plan in its folder."""

    folder: Path
    units: tuple[Unit, ...]
    settings: Mapping[str, Mapping[str, Any]]

    def path(self, name: str) -> Path:
        """Where a file or folder of the plan lies."""
        return self.folder / name

    def run_folder(self, unit: Unit) -> Path:
        """Where the map of a unit goes."""
        return self.folder / "runs" / unit.name

    def config(self, unit: Unit) -> PipelineConfig:
        """The settings of a unit; raises ConfigError that names the plan."""
        where = f"{self.path(PLAN_FILE)}: settings.{unit.settings}"
        config: PipelineConfig = config_from_mapping(PipelineConfig, self.settings[unit.settings], where)
        return config

    @cached_property
    def steps(self) -> dict[str, Step]:
        """All steps by their id, each after those that it needs."""
        return {step.id: step for unit in self.units for step in self._steps_of(unit)}

    def _steps_of(self, unit: Unit) -> Iterator[Step]:
        key = digest(unit_to_data(unit) | {"building": "", "settings": ""}, self.settings[unit.settings])
        if unit.pieces == 1:
            yield Step(f"{unit.name}.map", "map", unit, key)
            return
        prepare = Step(f"{unit.name}.prepare", "prepare", unit, key)
        yield prepare
        yield from _tree(unit, key, prepare.id, 0, unit.pieces)
        root = _joined_id(unit, 0, unit.pieces)
        labels = [
            Step(f"{unit.name}.labels-{piece}", "labels", unit, key, (root,), piece, piece + 1)
            for piece in range(unit.pieces)
        ]
        yield from labels
        yield Step(f"{unit.name}.map", "map", unit, key, tuple(step.id for step in labels), 0, unit.pieces)


def _joined_id(unit: Unit, first: int, stop: int) -> str:
    return f"{unit.name}.fuse-{first}" if stop - first == 1 else f"{unit.name}.sum-{first}-{stop}"


def _tree(unit: Unit, key: str, prepare: str, first: int, stop: int) -> Iterator[Step]:
    """The pieces and their sums two by two; the tree is the same whoever does what when."""
    name = _joined_id(unit, first, stop)
    if stop - first == 1:
        yield Step(name, "fuse", unit, key, (prepare,), first, stop)
        return
    middle = (first + stop) // 2
    yield from _tree(unit, key, prepare, first, middle)
    yield from _tree(unit, key, prepare, middle, stop)
    needs = (_joined_id(unit, first, middle), _joined_id(unit, middle, stop))
    yield Step(name, "sum", unit, key, needs, first, stop)


def make_plan(list_file: Path, folder: Path, config: Path | None = None, overrides: Sequence[str] = ()) -> Plan:
    """Write the plan of a list into a folder, new or with an earlier plan; results whose unit is unchanged stay valid.

    `config` and `overrides` are settings for all sequences, on top of those of the list.

    Raises BatchError and ConfigError in one line, and BatchError for a folder that contains something else.
    """
    units, settings = read_list(list_file, config, overrides)
    if folder.exists() and not folder.is_dir():
        raise BatchError(f"{folder}: is no folder; choose another --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PLAN_FILE).is_file():
        raise BatchError(f"{folder}: is not empty and no plan (it has no {PLAN_FILE}); choose another --out")
    for name in ("", *FOLDERS):
        make_folder(folder / name)
    data = {
        "format": FORMAT,
        "version": VERSION,
        "settings": settings,
        "units": [unit_to_data(unit) for unit in units],
    }
    text = json.dumps(data, indent=1, allow_nan=False) + "\n"
    write_text_atomic(folder / PLAN_FILE, text)
    return Plan(folder, tuple(units), settings)


def read_plan(folder: Path) -> Plan:
    """The plan of a folder; raises BatchError and ConfigError in one line that names the file and the field."""
    path = folder / PLAN_FILE
    if not path.is_file():
        raise BatchError(
            f"{folder}: is no plan (it has no {PLAN_FILE}); m2h batch plan LIST.yaml --out {folder} makes one"
        )
    data = read_json(path, BatchError)
    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != VERSION:
        raise BatchError(f"{path}: expected format {FORMAT} version {VERSION}")
    settings, units = data.get("settings"), data.get("units")
    if not isinstance(settings, dict) or not all(isinstance(entry, dict) for entry in settings.values()):
        raise BatchError(f"{path}: settings: expected an object of settings by name")
    if not isinstance(units, list):
        raise BatchError(f"{path}: units: expected a list")
    found = tuple(unit_from_data(entry, f"{path}: units[{number}]") for number, entry in enumerate(units))
    _check_units(found, settings, path)
    return Plan(folder, found, settings)


def _check_units(units: Sequence[Unit], settings: Mapping[str, Any], path: Path) -> None:
    names: set[str] = set()
    for unit in units:
        if unit.settings not in settings:
            raise BatchError(f"{path}: units: {unit.name}: there are no settings {unit.settings!r}")
        if unit.name in names:
            raise BatchError(f"{path}: units: {unit.name} is there twice")
        names.add(unit.name)
