"""The whole pipeline as one function: sequence and predictions in, run folder out; only what is out of date is done again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mapping.files import write_text_atomic
from pipelines.config import config_to_mapping, dump_config
from pipelines.frame import FrameSequence, SequenceError, only_with_depth
from pipelines.loading import BrokenFramesError, CachedSequence
from pipelines.sequences.frame_table import write_frame_table
from pipelines.settings import PipelineConfig
from pipelines.sources.refinement import Refine, refined
from pipelines.sources.source import Source, open_source
from pipelines.stages.align import align
from pipelines.stages.context import Progress, RunContext
from pipelines.stages.fuse import fuse
from pipelines.stages.graph import GRAPH_FILES, build_graph
from pipelines.stages.hint import FOLDER, fuse_first, predict_again
from pipelines.stages.prepare import CHECK_FILE, check_input, find_level, list_frames, store_predictions
from pipelines.stages.report import REPORT_FILES, write_report_files
from pipelines.warm_up import compiling_ahead
from pipelines.workspace import StageRecord, Workspace, digest, input_fingerprint, package_versions


@dataclass(frozen=True)
class Stage:
    """One step of a run: the settings that it reads, the files that it writes, and the function that does it.

    `version` counts changes of the code that change its files, so that old runs are redone. `outputs` are relative to the run
    folder; `folder` is where in it the step finds and puts predictions, alignment and volume. A function may be in a run twice,
    under two names and in two folders.
    """

    name: str
    version: int
    settings: tuple[str, ...]
    outputs: tuple[str, ...]
    run: Callable[[RunContext], StageRecord]
    folder: str = ""


STAGES = (
    Stage("sequence", 1, ("frames",), (), list_frames),
    Stage("check", 1, ("frames", "check"), (CHECK_FILE,), check_input),
    Stage("predict", 1, ("frames",), ("predictions/index.json",), store_predictions),
    Stage("align", 2, ("frames", "align", "depth", "tsdf", "dynamics"), ("alignment.json",), align),
    Stage("level", 1, ("frames", "up"), ("levelling.json",), find_level),
    Stage("fuse", 3, ("frames", "depth", "tsdf", "dynamics"), ("volume.npz", "detections.json", "frames.csv"), fuse),
    Stage("graph", 3, ("frames", "mesh", "graph", "dynamics"), GRAPH_FILES, build_graph),
    Stage("report", 2, (), REPORT_FILES, write_report_files),
)
STAGE_NAMES = tuple(stage.name for stage in STAGES)
FIRST_PASS = (
    Stage("first predict", 1, ("frames",), (f"{FOLDER}/predictions/index.json",), store_predictions, FOLDER),
    Stage("first fuse", 1, ("frames", "depth", "tsdf", "dynamics"), (f"{FOLDER}/volume.npz",), fuse_first, FOLDER),
)
"""What goes before the prediction of a source that takes hints."""


def stages_until(name: str, *, two_passes: bool = False) -> tuple[Stage, ...]:
    """The stages of a run, in order, up to the one of that name; with two passes the prediction is the second one."""
    chosen = STAGES[: STAGE_NAMES.index(name) + 1]
    at = STAGE_NAMES.index("predict")
    if not two_passes or len(chosen) <= at:
        return chosen
    return (*chosen[:at], *FIRST_PASS, replace(chosen[at], run=predict_again), *chosen[at + 1 :])


def run(
    sequence: FrameSequence,
    out: Path | str,
    *,
    source: str = "auto",
    refine: Refine = "none",
    config: PipelineConfig | None = None,
    until: str = "report",
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Map a sequence into the run folder `out` and return its manifest.

    Parameters
    ----------
    sequence : what `open_sequence` gives.
    out : the run folder; a new or an earlier one. Stages whose input, settings and code are those of the folder are skipped.
    source : where predictions come from, as `--source`.
    refine : whether their depth is corrected by the images of neighbouring frames, as `--refine`.
    config : settings; None is all defaults.
    until : the last stage wanted, one of `STAGE_NAMES`.
    progress : called with (what, done, total) as the work goes on; with (stage, 0, 0) for a stage that is up to date.

    Raises SequenceError, SourceError, WorkspaceError and the errors of the packages below, each with one line that names the
    file and the field.
    """
    config = config or PipelineConfig()
    shared = CachedSequence(sequence)
    opened = refined(open_source(source, shared, config), refine, shared, config)
    if opened.needs_depth:
        sequence = only_with_depth(sequence)
    workspace = Workspace(Path(out))
    with workspace.lock(), ExitStack() as ahead:
        context = RunContext(workspace, sequence, opened, config, progress)
        settings = config_to_mapping(config)
        fingerprint = input_fingerprint(sequence)
        key = digest(fingerprint, opened.name, opened.fingerprint)
        _write_header(workspace, sequence, fingerprint, opened, config)
        two_passes = opened.predict_hinted is not None and config.network.passes == 2
        workspace.keep_only([stage.name for stage in stages_until(STAGE_NAMES[-1], two_passes=two_passes)])
        steps = stages_until(until, two_passes=two_passes)
        need_kernels = {"level", "fuse"} & {stage.name for stage in steps}
        for stage in steps:
            chosen = {name: settings[name] for name in stage.settings}
            key = digest(key, stage.name, stage.version, chosen)
            if workspace.is_current(stage.name, key):
                workspace.note_current(stage.name)
                progress(stage.name, 0, 0)
                need_kernels.discard(stage.name)
                continue
            if need_kernels:
                ahead.enter_context(compiling_ahead())
                need_kernels.clear()
            this = replace(context, stage=stage.name, key=key, folder=stage.folder)
            with _broken_frames_noted(context):
                workspace.record(stage.name, key, chosen, stage.outputs, partial(stage.run, this))
    return workspace.manifest


@contextmanager
def _broken_frames_noted(context: RunContext) -> Iterator[None]:
    """Where a stage gives up because of broken frames, list them in frames.csv and say how many were allowed."""
    try:
        yield
    except BrokenFramesError as error:
        positions, share = context.positions, context.config.frames.max_broken
        first = next(iter(error.broken.values()))
        last = max(error.broken)
        infos = [context.sequence.infos[position] for position in positions]
        unread = {info.index: "not read, the run stopped before it" for info in infos if info.index > last}
        path = context.workspace.path("frames.csv")
        write_frame_table(path, context.sequence, set(positions), {**error.broken, **unread})
        raise SequenceError(
            f"{context.sequence.path}: {len(error.broken)} of {len(positions)} frames cannot be read, "
            f"frames.max_broken={share:g} allows {int(share * len(positions))}; all in {path}; the first: {first}"
        ) from error


def _write_header(
    workspace: Workspace, sequence: FrameSequence, fingerprint: str, source: Source, config: PipelineConfig
) -> None:
    header = {
        "versions": package_versions(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "input": {
            "name": sequence.name,
            "format": sequence.format,
            "path": str(sequence.path),
            "fingerprint": fingerprint,
        },
        "source": source.name,
        "trust": source.trust,
    }
    if any(workspace.manifest.get(name) != value for name, value in header.items() if name != "command"):
        workspace.manifest.update(header)
        workspace.save()
    text = dump_config(config)
    path = workspace.path("config.yaml")
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text_atomic(path, text)
