"""Short sequences for the tests of batches, good and broken ones, and helpers to run a batch in this process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from box_room import write_box_room

from pipelines.batch.board import Board, StepStatus
from pipelines.batch.leases import LeaseWatch
from pipelines.batch.plan import Plan, make_plan
from pipelines.images import write_png

FRAMES = 6
SETTINGS = ["tsdf.voxel_size=0.1"]
BREAKAGES = ("gone", "no_poses", "no_depth", "no_json", "dark")


def write_small_room(folder: Path) -> None:
    """Six frames of the box room."""
    write_box_room(folder, FRAMES)


def break_sequence(folder: Path, how: str) -> None:
    """Break a sequence in one of `BREAKAGES`."""
    transforms = folder / "transforms.json"
    if how == "gone":
        shutil.rmtree(folder)
    elif how == "no_poses":
        data = json.loads(transforms.read_text())
        for frame in data["frames"]:
            frame["transform_matrix"] = [[0.0] * 4] * 4
        transforms.write_text(json.dumps(data))
    elif how == "no_depth":
        for path in (folder / "depth").iterdir():
            path.write_bytes(path.read_bytes()[:100])
    elif how == "no_json":
        transforms.write_text(transforms.read_text()[:-300])
    else:  # nothing in reach: all depth is unknown
        for path in (folder / "depth").iterdir():
            write_png(path, np.zeros((120, 160), np.uint16))


def plan_of(folder: Path, entries: list[object], **more: object) -> Plan:
    """The plan in folder/plan of a list of these entries."""
    data = {"sequences": entries, "source": "recorded", "set": SETTINGS, **more}
    (folder / "list.yaml").write_text(json.dumps(data))  # JSON is YAML
    return make_plan(folder / "list.yaml", folder / "plan")


def states_of(plan: Plan) -> dict[str, str]:
    """The state of each step as the files say."""
    return {name: status.state for name, status in Board(plan).read().items()}


def lines_of(statuses: dict[str, StepStatus]) -> dict[str, str]:
    """The line of each step that failed."""
    return {
        name: status.result.line
        for name, status in statuses.items()
        if status.result is not None and status.result.line
    }


def quick_watch() -> LeaseWatch:
    """A watch that takes a lease for dead after half a second."""
    return LeaseWatch(0.5)
