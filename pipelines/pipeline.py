"""The whole pipeline as one function: sequence and predictions in, run folder out; only what is out of date is done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mapping.files import write_text_atomic
from mapping.reading.files import file_sha256, read_bytes
from pipelines.checks.bounds import check_bounds
from pipelines.config import config_to_mapping, dump_config
from pipelines.frame import FrameSequence, SequenceError, check_indices, only_with_depth
from pipelines.loading import BrokenFramesError, CachedSequence
from pipelines.posing.adjustment import can_adjust
from pipelines.recentred import recentred
from pipelines.reduced import reduced
from pipelines.sequences.frame_table import write_frame_table
from pipelines.settings import PipelineConfig
from pipelines.sources.cost import is_costly
from pipelines.sources.provenance_text import trust_lines
from pipelines.sources.refinement import Refine, refined
from pipelines.sources.source import Source, open_source
from pipelines.spacing import with_frames_decided
from pipelines.stages.align import align
from pipelines.stages.alignment_file import ALIGNMENT_FILE
from pipelines.stages.context import LEVELLING_FILE, Progress, RunContext
from pipelines.stages.find_depth_planes import find_surface_planes
from pipelines.stages.fuse import fuse
from pipelines.stages.graph import build_graph
from pipelines.stages.hint import FIRST_FOLDER, fuse_first, predict_again
from pipelines.stages.map_files import GRAPH_FILES, GRAPH_INPUTS
from pipelines.stages.motion import find_motion
from pipelines.stages.motion_file import MOTION_FILE
from pipelines.stages.planes_file import PLANES_FILE
from pipelines.stages.prepare import CHECK_FILE, check_input, find_level, list_frames, store_predictions
from pipelines.stages.refine_poses import POSES_FILE, refine_poses, with_refined_poses
from pipelines.stages.report import REPORT_FILES, write_report_files
from pipelines.versions import command_line, package_versions
from pipelines.warm_up import compiling_ahead
from pipelines.workspace import (
    VOLUME_FILE,
    InputWatch,
    StageRecord,
    Workspace,
    WorkspaceError,
    digest,
    input_fingerprint,
)


@dataclass(frozen=True)
class Stage:
    """One step of a run: the settings that it reads, the files that it writes, and the function that does it.

    `version` counts changes of the code that change its files, so that old runs are redone. `outputs` are relative to the run
    folder, as are `inputs`, the files of users that it reads besides those of the stages before; `folder` is where in it the step
    finds and puts predictions, alignment and volume. A function may be in a run twice, under two names and in two folders.
    `uses_kernels` says that it needs the compiled kernels that are compiled ahead.
    """

    name: str
    version: int
    settings: tuple[str, ...]
    outputs: tuple[str, ...]
    run: Callable[[RunContext], StageRecord]
    folder: str = ""
    inputs: tuple[str, ...] = ()
    uses_kernels: bool = False


REPORT = "report"
FUSE_SETTINGS = ("frames", "depth", "tsdf", "dynamics")
FUSE_FILES = (VOLUME_FILE, "detections.json", "frames.csv")
GRAPH_SETTINGS = ("frames", "mesh", "graph", "dynamics", "depth")
INPUT_STAGES = (
    Stage("sequence", 3, ("frames",), (), list_frames),
    Stage("check", 3, ("frames", "check", "poses", "align"), (CHECK_FILE,), check_input),
    Stage("poses", 3, ("frames", "poses"), (POSES_FILE,), refine_poses),
)
"""What is done with the sequence as it was given; the others get it with refined poses."""
STAGES = (
    *INPUT_STAGES,
    Stage("predict", 1, ("frames",), ("predictions/index.json",), store_predictions),
    Stage("align", 3, ("frames", "align", "depth", "tsdf", "dynamics"), (ALIGNMENT_FILE,), align),
    Stage("level", 3, ("frames", "up"), (LEVELLING_FILE,), find_level, uses_kernels=True),
    Stage("planes", 3, ("frames", "planes"), (PLANES_FILE,), find_surface_planes),
    Stage("motion", 1, ("frames", "depth", "dynamics"), (MOTION_FILE,), find_motion, uses_kernels=True),
    Stage("fuse", 6, FUSE_SETTINGS, FUSE_FILES, fuse, uses_kernels=True),
    Stage("graph", 13, GRAPH_SETTINGS, GRAPH_FILES, build_graph, inputs=GRAPH_INPUTS),
    Stage(REPORT, 5, (), REPORT_FILES, write_report_files),
)
INPUT_NAMES = tuple(stage.name for stage in INPUT_STAGES)
STAGE_NAMES = tuple(stage.name for stage in STAGES)
FIRST_PASS = (
    Stage(
        "first predict",
        1,
        ("frames",),
        (f"{FIRST_FOLDER}/predictions/index.json",),
        store_predictions,
        FIRST_FOLDER,
    ),
    Stage(
        "first fuse",
        3,
        FUSE_SETTINGS,
        (f"{FIRST_FOLDER}/{VOLUME_FILE}",),
        fuse_first,
        FIRST_FOLDER,
        uses_kernels=True,
    ),
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
    until: str = REPORT,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Map a sequence into the run folder `out` and return its manifest.

    Parameters
    ----------
    sequence : what `open_sequence` gives.
    out : the run folder; a new or an earlier one of the same sequence. Stages whose input, settings and code are those of the
        folder are skipped.
    source : where predictions come from, as `--source`.
    refine : whether their depth is corrected by the images of neighbouring frames, as `--refine`.
    config : settings; None is all defaults.
    until : the last stage wanted, one of `STAGE_NAMES`.
    progress : called with (what, done, total) as the work proceeds; with (stage, 0, 0) for a stage that is up to date.

    Raises SequenceError, SourceError, WorkspaceError and the packages' errors, each with one line that names file and field.
    """
    given = _opened(sequence, source, config or PipelineConfig())
    sequence, opened, config = given.sequence, given.source, given.config
    check_bounds(sequence, config)
    workspace = Workspace(Path(out))
    with workspace.lock(), ExitStack() as ahead:
        watch = InputWatch((sequence.path, *opened.files))
        fingerprint = input_fingerprint(sequence)
        workspace.check_input(sequence, fingerprint)
        _write_header(workspace, sequence, fingerprint, config)
        key = digest(fingerprint, opened.name, opened.fingerprint, can_adjust())
        chain = _Chain(workspace, config_to_mapping(config), ahead, watch, key)
        context = RunContext(workspace, sequence, opened, config, progress)
        chain.run(INPUT_STAGES[: INPUT_NAMES.index(until) + 1] if until in INPUT_NAMES else INPUT_STAGES, context)
        if until in INPUT_NAMES:
            return workspace.manifest
        context = _posed_context(context, given.shared, source, refine)
        two_passes = _has_two_passes(context)
        opened = context.source
        _note(workspace, {"source": opened.name, "networks": list(map(asdict, opened.networks))})
        workspace.keep_only([stage.name for stage in stages_until(STAGE_NAMES[-1], two_passes=two_passes)])
        chain.pose(context)
        rest = stages_until(until, two_passes=two_passes)
        chain.run([stage for stage in rest if stage.name not in (*INPUT_NAMES, REPORT)], context)
        _note(workspace, {"trust": trust_lines(opened, workspace.manifest["stages"])})
        chain.run([stage for stage in rest if stage.name == REPORT], context)
    return workspace.manifest


def stage_context(
    out: Path,
    stage: str,
    sequence: FrameSequence,
    *,
    source: str = "auto",
    refine: Refine = "none",
    config: PipelineConfig | None = None,
    progress: Progress = lambda what, done, total: None,
) -> RunContext:
    """What `run` would give to a stage of the run folder `out`, which is only read; for work on a stage by several processes.

    Raises WorkspaceError where a stage before it was not done with this input and these settings, and what `run` raises.
    """
    given = _opened(sequence, source, config or PipelineConfig())
    sequence, opened, config = given.sequence, given.source, given.config
    workspace = Workspace.open(out)
    with ExitStack() as ahead:
        key = digest(input_fingerprint(sequence), opened.name, opened.fingerprint, can_adjust())
        chain = _Chain(workspace, config_to_mapping(config), ahead, InputWatch(()), key)
        chain.pass_over(INPUT_STAGES)
        context = RunContext(workspace, sequence, opened, config, progress)
        context = _posed_context(context, given.shared, source, refine)
        chain.pose(context)
        planned = [
            each for each in stages_until(stage, two_passes=_has_two_passes(context)) if each not in INPUT_STAGES
        ]
        chain.pass_over(planned[:-1])
        return replace(context, stage=stage, key=chain.next_key(planned[-1]), folder=planned[-1].folder)


class _Input(NamedTuple):
    """What a run works on: the sequence about its origin with the frames that the source can answer for, the same with all frames
    as sources share it, the source, and the settings with what depends on the source decided."""

    sequence: FrameSequence
    shared: FrameSequence
    source: Source
    config: PipelineConfig


def _opened(sequence: FrameSequence, source: str, config: PipelineConfig) -> _Input:
    check_indices(sequence)
    costly = is_costly(source, sequence, config)
    if costly is None:
        costly = open_source(source, CachedSequence(recentred(sequence)), config).is_costly
    decided = with_frames_decided(config, sequence, is_costly=costly)
    sequence = recentred(reduced(sequence, _longest_side(decided)))
    shared = CachedSequence(sequence)
    opened = _source_of(source, shared, decided)
    answered = only_with_depth(sequence) if opened.needs_depth else sequence
    return _Input(answered, shared, opened, decided)


def _longest_side(config: PipelineConfig) -> int | None:
    side = config.frames.longest_side
    return None if side == "auto" else side


def _source_of(source: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """The source of images that may be reduced; its answers for larger ones are not reused."""
    opened = open_source(source, sequence, config)
    return (
        replace(opened, fingerprint=digest(opened.fingerprint, _longest_side(config)))
        if _longest_side(config)
        else opened
    )


def _posed_context(context: RunContext, shared: FrameSequence, source: str, refine: Refine) -> RunContext:
    """The context of the stages after the input's: with refined poses, and the source as it answers for them."""
    sequence, opened, config = context.sequence, context.source, context.config
    poses = context.workspace.path(POSES_FILE)
    adjusted = with_refined_poses(sequence, poses)
    if adjusted is not sequence:
        shared = CachedSequence(adjusted)
        opened = _reopened(source, shared, config, poses)
    opened = refined(opened, refine, shared, config)
    return RunContext(context.workspace, adjusted, opened, config, context.progress)


def _has_two_passes(context: RunContext) -> bool:
    return context.source.predict_hinted is not None and context.config.network.passes == 2


def _reopened(source: str, sequence: FrameSequence, config: PipelineConfig, poses: Path) -> Source:
    """The source of the sequence with refined poses; its answers for other poses are not reused."""
    opened = _source_of(source, sequence, config)
    return replace(opened, fingerprint=digest(opened.fingerprint, file_sha256(poses, WorkspaceError)))


@dataclass
class _Chain:
    """Runs stages that are out of date, one after the other; `key` is a digest of all that the next one depends on."""

    workspace: Workspace
    settings: dict[str, Any]
    ahead: ExitStack
    watch: InputWatch
    key: str

    def pose(self, context: RunContext) -> None:
        """Let what follows depend on refined poses and the source as it answers for them."""
        poses, source = context.workspace.path(POSES_FILE), context.source
        self.key = digest(self.key, file_sha256(poses, WorkspaceError))
        self.key = digest(self.key, source.name, source.fingerprint)

    def next_key(self, stage: Stage) -> str:
        """The key of the stage that comes next."""
        files = self.workspace.hashes_of(stage.inputs)
        self.key = digest(self.key, stage.name, stage.version, self.chosen(stage), *files)
        return self.key

    def chosen(self, stage: Stage) -> dict[str, Any]:
        """The settings that a stage reads."""
        return {name: self.settings[name] for name in stage.settings}

    def pass_over(self, stages: Sequence[Stage]) -> None:
        """Go past stages that are up to date; raises WorkspaceError for one that is not."""
        for stage in stages:
            if not self.workspace.is_current(stage.name, self.next_key(stage)):
                raise WorkspaceError(
                    f"{self.workspace.root}: stage {stage.name} was not done with this input and these settings"
                )

    def run(self, stages: Sequence[Stage], context: RunContext) -> None:
        """The stages in order; what they need compiled is compiled during the first of them that runs."""
        is_compiling = False
        for position, stage in enumerate(stages):
            if self.workspace.is_current(stage.name, self.next_key(stage)):
                self.workspace.note_current(stage.name)
                context.progress(stage.name, 0, 0)
                continue
            if not is_compiling and any(later.uses_kernels for later in stages[position:]):
                self.ahead.enter_context(compiling_ahead())
                is_compiling = True
            this = replace(context, stage=stage.name, key=self.key, folder=stage.folder)
            with _broken_frames_noted(context):
                self.workspace.record(
                    stage.name,
                    self.key,
                    self.chosen(stage),
                    stage.outputs,
                    partial(self._watched, stage.run, this),
                )

    def _watched(self, run: Callable[[RunContext], StageRecord], context: RunContext) -> StageRecord:
        """What the stage says, unless its input was changed meanwhile."""
        record = run(context)
        self.watch.check()
        return record


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


def _write_header(workspace: Workspace, sequence: FrameSequence, fingerprint: str, config: PipelineConfig) -> None:
    header = {
        "versions": package_versions(),
        "command": command_line(),
        "input": {
            "name": sequence.name,
            "format": sequence.format,
            "path": str(sequence.path.resolve()),
            "fingerprint": fingerprint,
        },
    }
    if any(workspace.manifest.get(name) != value for name, value in header.items() if name != "command"):
        _note(workspace, header)
    text = dump_config(config)
    path = workspace.path("config.yaml")
    if not _has_text(path, text):
        write_text_atomic(path, text)


def _has_text(path: Path, text: str) -> bool:
    try:
        return read_bytes(path, WorkspaceError) == text.encode()
    except WorkspaceError:
        return False


def _note(workspace: Workspace, entries: Mapping[str, Any]) -> None:
    """Put entries into the manifest, which is written where they are new."""
    if any(workspace.manifest.get(name) != value for name, value in entries.items()):
        workspace.manifest.update(entries)
        workspace.save()
