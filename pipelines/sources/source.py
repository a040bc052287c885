"""Where predictions come from: any callable from a frame to its predictions, found by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.depth.pose_scale import PoseScale
from pipelines.frame import Frame, FrameSequence
from pipelines.plugins import resolve
from pipelines.settings import PipelineConfig
from pipelines.sources.predictions import FIELDS, PredictionError, prediction_path, read_predictions
from pipelines.workspace import folder_fingerprint
from scenegraph.labels import LabelSpace, nyu40

SOURCES = {
    "auto": "pipelines.sources.source:open_default",
    "m2h": "pipelines.sources.network:open_network",
    "recorded": "pipelines.sources.source:open_recorded",
    "precomputed": "pipelines.sources.source:open_precomputed",
    "multiview": "pipelines.sources.multiview:open_multiview",
    "mixed": "pipelines.sources.source:open_mixed",
}
"""A function from what follows the colon, the sequence and the settings to a Source.

The sequence is shared by all sources of a run and gives frames in any order, so that a source may use the neighbours of one.
"""
PARTS = {
    "depth": ("depth", "confidence"),
    "semantics": ("labels", "label_confidence", "instances"),
    "normals": ("normals",),
    "edges": ("edges",),
}


class SourceError(ValueError):
    """A prediction source that cannot be used; the message names it and what was expected."""


class DepthOrigin(Enum):
    """What depth was found from, which tells its scale."""

    SENSOR = "sensor"
    """Measured: metres in every frame."""
    POSES = "poses"
    """Found from images and their poses: in the unit of the poses in every frame."""
    NETWORK = "network"
    """Predicted from single images: a scale of its own in every frame."""


@dataclass(frozen=True, eq=False)
class Hint:
    """What is known of a frame's depth before a network is asked, from images or from the map of a first pass: depth (H, W)
    float32 in the unit of the poses, 0 unknown, and confidence (H, W) float32 in [0, 1]."""

    depth: NDArray[np.float32]
    confidence: NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """A prediction source: `predict(frame)` gives depth and perhaps more, at the frame's size.

    `fingerprint` changes when its answers would; `is_costly` says that answers are worth storing in the run folder;
    `label_space` is what its labels mean, None when it gives none; `is_refined` says that its depth was corrected by the images
    of neighbouring frames; `needs_depth` that it gives depth only to frames that have a depth image. `notes` are things that a
    user should know, some found only while it answers. `predict_hinted` answers given what is known already;
    None for a source that has no use for it. `trust` says how good the answers are known to be. `pose_scale` gives the metres in
    one unit of the poses where the source found them. `predicts_labels` says that labels are guesses, which give way where
    geometry contradicts them. `files` are the files and folders that it reads while it answers, besides the sequence.
    """

    name: str
    predict: Callable[[Frame], Predictions]
    fingerprint: str
    label_space: LabelSpace | None
    depth_from: DepthOrigin
    is_refined: bool = False
    is_costly: bool = False
    notes: list[str] = field(default_factory=list)
    needs_depth: bool = False
    predict_hinted: Callable[[Frame, Hint], Predictions] | None = None
    pose_scale: Callable[[], PoseScale | None] = lambda: None
    predicts_labels: bool = False
    trust: str = ""
    files: tuple[Path, ...] = ()


def open_source(spec: str, sequence: FrameSequence, config: PipelineConfig | None = None) -> Source:
    """The source called `auto`, `recorded`, `multiview`, `m2h:NAME_OR_FILE`, `precomputed:DIR`, or
    `mixed:depth=SRC,semantics=SRC`, with the settings of the run.

    Raises SourceError for an unknown name or a source that the sequence cannot feed.
    """
    name, _, argument = spec.partition(":")
    if name not in SOURCES:
        raise SourceError(f"--source {spec}: unknown source {name!r}; known are {', '.join(sorted(SOURCES))}")
    source = resolve(name, SOURCES)(argument, sequence, config or PipelineConfig())
    assert isinstance(source, Source)
    return source


def open_default(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """What the sequence contains, or, when no frame that can be used has depth, the network with the shipped checkpoint."""
    if any(info.used and info.has_depth for info in sequence.infos):
        return open_recorded("", sequence, config)
    source = open_source("m2h", sequence, config)
    return replace(
        source, notes=[*source.notes, f"{sequence.name} has no depth: depth and labels are those of {source.name}"]
    )


def open_recorded(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """Depth and labels as the sequence contains them; raises SourceError when no frame that can be used has depth."""
    if not any(info.used and info.has_depth for info in sequence.infos):
        raise SourceError(f"--source recorded: {sequence.name} has no depth; give m2h, multiview or precomputed:DIR")
    labels = sequence.label_space
    return Source("recorded", lambda frame: frame.recorded, "recorded", labels, DepthOrigin.SENSOR, needs_depth=True)


def open_precomputed(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """Another model's output: a folder with one NNNNNN.npz a frame index (`depth`, `labels`, `normals`, ... as `Predictions`).

    Raises SourceError when the folder is missing, PredictionError when a frame's file is, or when it does not fit the image.
    """
    folder = Path(argument)
    if not argument or not folder.is_dir():
        raise SourceError(
            f"--source precomputed:{argument}: expected a folder of NNNNNN.npz files, one per frame index"
        )

    def predict(frame: Frame) -> Predictions:
        path = prediction_path(folder, frame.index)
        predictions = read_predictions(path)
        for name in FIELDS:
            array = getattr(predictions, name)
            if array is not None and array.shape[:2] != frame.rgb.shape[:2]:
                raise PredictionError(
                    f"{path}: {name} must be {frame.rgb.shape[:2]} like the image, got {array.shape[:2]}"
                )
        return predictions

    label_space = sequence.label_space or nyu40()
    fingerprint = folder_fingerprint(folder)
    name = f"precomputed:{folder.name}"
    return Source(name, predict, fingerprint, label_space, DepthOrigin.NETWORK, files=(folder,))


def open_mixed(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """Each output from its own source: `depth=recorded,semantics=precomputed:DIR`; raises SourceError for other words."""
    specs: dict[str, str] = {}
    for assignment in filter(None, argument.split(",")):
        part, equals, spec = assignment.partition("=")
        if not equals or part not in PARTS:
            known = ", ".join(PARTS)
            raise SourceError(
                f"--source mixed:{argument}: expected PART=SOURCE, PART one of {known}; got {assignment!r}"
            )
        specs[part] = spec
    if "depth" not in specs:
        raise SourceError(f"--source mixed:{argument}: depth=SOURCE is missing")
    sources = {spec: open_source(spec, sequence, config) for spec in dict.fromkeys(specs.values())}

    def predict(frame: Frame) -> Predictions:
        return joined({spec: source.predict(frame) for spec, source in sources.items()})

    def predict_hinted(frame: Frame, hint: Hint) -> Predictions:
        return joined(
            {
                spec: source.predict_hinted(frame, hint) if source.predict_hinted else source.predict(frame)
                for spec, source in sources.items()
            }
        )

    def joined(answers: dict[str, Predictions]) -> Predictions:
        chosen = {name: getattr(answers[spec], name) for part, spec in specs.items() for name in PARTS[part]}
        return Predictions(**chosen)

    fingerprint = "+".join(f"{part}={sources[spec].fingerprint}" for part, spec in specs.items())
    name = "mixed:" + ",".join(f"{part}={sources[spec].name}" for part, spec in specs.items())
    labels = sources[specs["semantics"]].label_space if "semantics" in specs else None
    costly = any(source.is_costly for source in sources.values())
    depth = sources[specs["depth"]]
    return replace(
        depth,
        name=name,
        predict=predict,
        fingerprint=fingerprint,
        label_space=labels,
        is_costly=costly,
        predict_hinted=None if depth.predict_hinted is None else predict_hinted,
        files=tuple(path for source in sources.values() for path in source.files),
        predicts_labels="semantics" in specs and sources[specs["semantics"]].predicts_labels,
    )
