"""The stages of a run, in order: files in, files out. `pipelines.pipeline` decides which of them run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from m2h.runtime import prefetched
from mapping.files import write_text_atomic
from pipelines.frame import Frame, FrameSequence, SequenceError
from pipelines.loading import chosen_positions, read_frames
from pipelines.settings import PipelineConfig
from pipelines.sources.predictions import prediction_path, read_predictions, write_predictions
from pipelines.sources.source import Source, SourceError
from pipelines.stages import alignment_file
from pipelines.workspace import StageRecord, Workspace

Progress = Callable[[str, int, int], None]
Array = NDArray[np.float64]
LEVELLING_FRAMES = 60
LEVELLING_VOXEL_SIZE = 0.06


@dataclass(frozen=True)
class RunContext:
    """What every stage gets: where to write, what to read, the settings, a callback `(what, done, total)`, and
    the key of the stage at hand."""

    workspace: Workspace
    sequence: FrameSequence
    source: Source
    config: PipelineConfig
    progress: Progress
    stage_key: str = ""
    foreign_labels: dict[int, dict[int, int]] = field(default_factory=dict)
    """Of frames with labels that the label space lacks, by index: how many pixels have each of them."""

    @property
    def positions(self) -> list[int]:
        """Positions in the sequence of the frames that the settings choose."""
        return chosen_positions(self.sequence, self.config.frames)

    def first_frame(self) -> Frame:
        """The first chosen frame that can be read; raises SequenceError when there is none."""
        broken: dict[int, str] = {}
        for frame in read_frames(self.sequence, self.positions, broken, max_broken=len(self.positions)):
            return frame
        raise SequenceError(f"{self.sequence.path}: no frame can be read: {next(iter(broken.values()))}")

    @cached_property
    def alignment(self) -> alignment_file.Alignment:
        """What the alignment stage found, as long as this stage runs."""
        return alignment_file.read_alignment(self.workspace.path(alignment_file.FILE))

    def stored_T_input_world(self) -> Array:
        """(4, 4) of the levelling stage: points of the levelled world to the input's world."""
        data = json.loads(self.workspace.path("levelling.json").read_text(encoding="utf-8"))
        return np.array(data["T_input_world"])


def list_frames(context: RunContext, record: StageRecord) -> None:
    """Count the frames that will be used and those that cannot, by reason."""
    chosen, infos = context.positions, context.sequence.infos
    unused = Counter(info.reason.partition("(")[0].strip() for info in infos if not info.used)
    lost, reasons = unused.total(), ", ".join(f"{count} {reason}" for reason, count in unused.most_common(3))
    skipped = sum(info.used for info in infos) - len(chosen)
    if skipped:
        unused["left out by stride or range"] = skipped
    record.summary |= {"found": len(infos), "used": len(chosen), "unused": dict(sorted(unused.items()))}
    left_out = "".join(f", {count} {reason}" for reason, count in unused.most_common(3))
    record.summary["text"] = f"{len(chosen)} of {len(infos)} frames{left_out}"
    record.warnings += getattr(context.sequence, "notes", ())
    if lost > context.config.frames.max_broken * len(infos):
        record.warnings.append(f"{lost} of {len(infos)} frames cannot be used: {reasons}; frames.csv lists them")


def find_level(context: RunContext, record: StageRecord) -> None:
    """Which way is up and where the floor is, from a coarse map of a few dozen frames, in levelling.json."""
    from mapping import TSDFConfig, TSDFVolume
    from mapping.gravity import level

    positions = context.positions
    few = [positions[i] for i in np.unique(np.linspace(0, len(positions) - 1, LEVELLING_FRAMES).astype(int))]
    volume = TSDFVolume(
        TSDFConfig(voxel_size=LEVELLING_VOXEL_SIZE, max_depth=context.config.tsdf.max_depth, carve=False)
    )
    poses = []
    broken: dict[int, str] = {}
    for done, frame in enumerate(read_frames(context.sequence, few, broken, max_broken=len(few) - 1)):
        seen = predicted(context, frame)
        assert seen.depth is not None  # `predicted` saw to it
        T_world_camera = context.alignment.metric_pose(frame.T_world_camera)
        volume.integrate(seen.depth, frame.intrinsics, T_world_camera, labels=seen.labels)
        poses.append(T_world_camera)
        context.progress("level", done + 1, len(few))
    mesh = volume.extract_mesh(min_weight=1.0)
    floor_faces: NDArray[np.bool_] | None = None
    if mesh.labels is not None and context.source.label_space is not None:
        floor_ids = [c.id for c in context.source.label_space.classes if c.name in ("floor", "floor_mat")]
        floor_faces = np.asarray(np.isin(mesh.labels[mesh.faces], floor_ids).all(axis=1))
    up = context.config.up or context.sequence.world_up
    found = level(mesh, np.array(poses), world_up=up, floor_faces=floor_faces)
    data = {
        "T_input_world": found.T_input_world.tolist(),
        "up_in_input": found.up.up.tolist(),
        "source": found.up.source,
        "support": float(found.up.support),
        "evidence": found.up.evidence,
        "floor_area": float(found.floor_area),
        "wall_share": float(found.wall_share),
    }
    write_text_atomic(context.workspace.path("levelling.json"), json.dumps(data, indent=2, allow_nan=False) + "\n")
    record.summary |= {"up_source": found.up.source, "support": float(found.up.support)}
    record.summary["text"] = found.up.evidence
    record.warnings += list(found.warnings)


def store_predictions(context: RunContext, record: StageRecord) -> None:
    """The answers of a costly source, one file a frame; frames that are there already are not asked again."""
    folder = context.workspace.path("predictions")
    folder.mkdir(exist_ok=True)
    index: dict[str, Any] = {"source": context.source.name, "fingerprint": context.source.fingerprint, "frames": []}
    marker = folder / "index.json"
    if context.source.is_costly:
        if not marker.exists() or json.loads(marker.read_text())["fingerprint"] != context.source.fingerprint:
            for stale in folder.glob("*.npz"):
                stale.unlink()
            write_text_atomic(marker, json.dumps(index))
        missing = [
            p for p in context.positions if not prediction_path(folder, context.sequence.infos[p].index).exists()
        ]
        frames = read_frames(
            context.sequence, missing, {}, max_broken=context.config.frames.max_broken * len(context.positions)
        )
        answers = ((frame.index, context.source.predict(frame)) for frame in frames)
        for done, (number, seen) in enumerate(prefetched(answers)):  # a thread asks while this one writes
            write_predictions(folder, number, seen)
            context.progress("predict", done + 1, len(missing))
        index["frames"] = sorted(int(path.stem) for path in folder.glob("*.npz"))
    write_text_atomic(marker, json.dumps(index))
    record.warnings += context.source.notes
    count = len(index["frames"])
    record.summary["text"] = f"{count} frames predicted" if count else "read with the frames"


def predicted(context: RunContext, frame: Frame, *, aligned: bool = True) -> Predictions:
    """The predictions of a frame, stored ones when the source is costly; labels that the label space lacks are unknown.

    `aligned` depth is corrected as the alignment stage found. Raises SourceError for a frame that the source gives no depth.
    """
    if context.source.is_costly:
        seen = read_predictions(prediction_path(context.workspace.path("predictions"), frame.index))
    else:
        seen = context.source.predict(frame)
    if seen.depth is None:
        image = context.sequence.infos[frame.index].image
        raise SourceError(f"--source {context.source.name}: gives no depth for frame {frame.index} ({image})")
    if aligned:
        seen = context.alignment.corrected(frame.index, seen)
    if seen.labels is None or context.source.label_space is None:
        return seen
    known = np.isin(np.arange(int(seen.labels.max(initial=0)) + 1), list(context.source.label_space.by_id))
    if known.all():
        return seen
    foreign, counts = np.unique(seen.labels[~known[seen.labels]], return_counts=True)
    context.foreign_labels[frame.index] = dict(zip(foreign.tolist(), counts.tolist(), strict=True))
    return replace(seen, labels=np.where(known[seen.labels], seen.labels, 0).astype(seen.labels.dtype))


def foreign_label_warning(context: RunContext) -> list[str]:
    """One sentence on the labels that `predicted` took as unknown; empty when there were none."""
    if not context.foreign_labels or context.source.label_space is None:
        return []
    ids = sorted({label for counts in context.foreign_labels.values() for label in counts})
    shown = ", ".join(map(str, ids[:10])) + (", ..." if len(ids) > 10 else "")
    pixels = sum(sum(counts.values()) for counts in context.foreign_labels.values())
    name, frames = context.source.label_space.name, len(context.foreign_labels)
    return [
        f"{pixels} pixels in {frames} frames have labels that label space {name} lacks ({shown}); they count as unknown"
    ]
