"""What every stage is given, and the predictions of a frame as stages see them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from pipelines.frame import Frame, FrameSequence
from pipelines.loading import chosen_positions
from pipelines.settings import PipelineConfig
from pipelines.sources.predictions import prediction_path, read_predictions
from pipelines.sources.source import Source, SourceError
from pipelines.stages import alignment_file
from pipelines.workspace import Workspace

Progress = Callable[[str, int, int], None]
Array = NDArray[np.float64]


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

    @property
    def camera(self) -> Intrinsics:
        """The camera of the first chosen frame."""
        return self.sequence.infos[self.positions[0]].intrinsics

    @cached_property
    def alignment(self) -> alignment_file.Alignment:
        """What the alignment stage found, as long as this stage runs."""
        return alignment_file.read_alignment(self.workspace.path(alignment_file.FILE))

    def stored_T_input_world(self) -> Array:
        """(4, 4) of the levelling stage: points of the levelled world to the input's world."""
        data = json.loads(self.workspace.path("levelling.json").read_text(encoding="utf-8"))
        return np.array(data["T_input_world"])


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
