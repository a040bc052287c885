"""The maps of a batch that are of one building, joined in one, as by `m2h merge`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mapping.files import make_folder
from pipelines.batch.board import Board
from pipelines.batch.listing import BatchError
from pipelines.batch.plan import Plan, read_plan
from pipelines.errors import is_known, one_line
from pipelines.merging import merge_runs
from pipelines.visits import Register

FOLDER = "buildings"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BuildingResult:
    """A building: its run folder, the sequences in it and those that are left out because they have no map; `line` says why
    there is no map of it, and is empty where there is one."""

    name: str
    folder: Path
    merged: tuple[str, ...]
    left_out: tuple[str, ...]
    line: str = ""


def merge_buildings(
    folder: Path,
    *,
    register: Register = "auto",
    progress: Progress = lambda what, done, total: None,
) -> list[BuildingResult]:
    """Join the finished maps of each building of the plan into PLAN/buildings/NAME; one that cannot be joined does not stop the
    others. Raises BatchError where no sequence belongs to a building."""
    plan = read_plan(folder)
    members: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    statuses = Board(plan).read()
    for unit in plan.units:
        if unit.building is not None:
            members[unit.building].append((unit.name, statuses[f"{unit.name}.map"].state == "done"))
    if not members:
        raise BatchError(
            f"{folder}: no sequence belongs to a building; give `building: NAME` to those in the list that do"
        )
    make_folder(plan.path(FOLDER))
    return [_merge(plan, name, runs, register, progress) for name, runs in members.items()]


def _merge(
    plan: Plan, name: str, members: list[tuple[str, bool]], register: Register, progress: Progress
) -> BuildingResult:
    merged = tuple(run for run, is_done in members if is_done)
    left_out = tuple(run for run, is_done in members if not is_done)
    out = plan.path(FOLDER) / name
    line = ""
    if len(merged) < 2:
        line = f"expected at least two finished maps, there are {len(merged)}"
    else:
        try:
            merge_runs([plan.path("runs") / run for run in merged], out, register=register, progress=progress)
        except Exception as error:
            if not is_known(error):
                raise
            line = one_line(error)
    return BuildingResult(name, out, merged, left_out, line)
