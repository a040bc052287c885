"""What the steps of a batch do: a whole run, or the parts of one that is fused in pieces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mapping.files import remove_folder
from pipelines.batch.plan import Kind, Plan, Step
from pipelines.frame import FrameSequence
from pipelines.pipeline import STAGE_NAMES, run, stage_context
from pipelines.posing.open_or_pose import open_or_pose
from pipelines.settings import PipelineConfig
from pipelines.sources.network import shipped_views
from pipelines.stages.context import Progress, RunContext
from pipelines.stages.pieces import fuse_piece, join_pieces, list_labels, place_sum

LAST_BEFORE_FUSION = STAGE_NAMES[STAGE_NAMES.index("fuse") - 1]
Manifest = dict[str, Any]


def map_unit(plan: Plan, step: Step, progress: Progress) -> Manifest:
    """The whole run of a unit, as by `m2h run`, from the sum of its pieces where it has them."""
    sequence, config = _opened(plan, step, progress)
    unit, out, pieces = step.unit, plan.run_folder(step.unit), _pieces_folder(plan, step)
    if unit.pieces > 1:
        place_sum(_context(plan, step, progress), pieces, unit.pieces)
    manifest = run(sequence, out, source=unit.source, refine=unit.refine, config=config, progress=progress)
    remove_folder(pieces)
    return manifest


def prepare(plan: Plan, step: Step, progress: Progress) -> Manifest:
    """All of a run that goes before its fusion."""
    sequence, config = _opened(plan, step, progress)
    unit, out = step.unit, plan.run_folder(step.unit)
    return run(
        sequence,
        out,
        source=unit.source,
        refine=unit.refine,
        config=config,
        until=LAST_BEFORE_FUSION,
        progress=progress,
    )


def fuse(plan: Plan, step: Step, progress: Progress) -> Manifest:
    """The volume of a piece."""
    fuse_piece(_context(plan, step, progress), _pieces_folder(plan, step), step.first, step.unit.pieces)
    return {}


def sum_up(plan: Plan, step: Step, progress: Progress) -> Manifest:
    """The sum of two pieces, or of two such sums."""
    join_pieces(_pieces_folder(plan, step), step.first, (step.first + step.stop) // 2, step.stop)
    return {}


def labels(plan: Plan, step: Step, progress: Progress) -> Manifest:
    """What the frames of a piece say of voxels with more labels than a voxel keeps."""
    list_labels(_context(plan, step, progress), _pieces_folder(plan, step), step.first, step.unit.pieces)
    return {}


def _opened(plan: Plan, step: Step, progress: Progress) -> tuple[FrameSequence, PipelineConfig]:
    unit, out, config = step.unit, plan.run_folder(step.unit), plan.config(step.unit)
    command = f"m2h run {unit.sequence} --out {out}"
    return open_or_pose(
        unit.sequence, out, config.posing, command=command, views=shipped_views, progress=progress
    ), config


def _context(plan: Plan, step: Step, progress: Progress) -> RunContext:
    """What the fusion stage of the run gets."""
    sequence, config = _opened(plan, step, progress)
    unit, out = step.unit, plan.run_folder(step.unit)
    return stage_context(
        out, "fuse", sequence, source=unit.source, refine=unit.refine, config=config, progress=progress
    )


def _pieces_folder(plan: Plan, step: Step) -> Path:
    return plan.path("pieces") / step.unit.name


WORK: dict[Kind, Callable[[Plan, Step, Progress], Manifest]] = {
    "map": map_unit,
    "prepare": prepare,
    "fuse": fuse,
    "sum": sum_up,
    "labels": labels,
}
"""What a step of each kind does; the manifest of the run where there is one."""
