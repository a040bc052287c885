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
from pipelines.frame import Frame, FrameSequence, has_depth
from pipelines.plugins import resolve
from pipelines.settings import PipelineConfig
from pipelines.sources.predictions import FIELDS, RANGES
from scenegraph.labels import LabelSpace

SOURCES = {
    "auto": "pipelines.sources.source:open_default",
    "m2h": "pipelines.sources.network:open_network",
    "recorded": "pipelines.sources.source:open_recorded",
    "precomputed": "pipelines.sources.precomputed:open_precomputed",
    "hf": "pipelines.sources.hf:open_hf",
    "multiview": "pipelines.sources.multiview:open_multiview",
    "mixed": "pipelines.sources.mixed:open_mixed",
}
"""A function from what follows the colon, the sequence and the settings to a Source.

The sequence is shared by all sources of a run and gives frames in any order, so that a source may use the neighbours of one.
"""


class SourceError(ValueError):
    """A prediction source that cannot be used; the message names it and what was expected."""


class DepthOrigin(Enum):
    """What depth was found from, which determines its scale."""

    SENSOR = "sensor"
    """Measured: metres in every frame."""
    POSES = "poses"
    """Found from images and their poses: in the unit of the poses in every frame."""
    NETWORK = "network"
    """Predicted from single images: in metres, with an error of scale of its own in every frame."""
    FITTED = "fitted"
    """Predicted from single images and fitted to what images prove: about in the unit of the poses, frame by frame."""


FOUND_BY_POSES = (DepthOrigin.POSES, DepthOrigin.FITTED)
"""Depth that is wrong where the poses are."""


@dataclass(frozen=True, eq=False)
class Hint:
    """What is known of a frame's depth before a network is asked, from images or from the map of a first pass: depth (H, W)
    float32 in the unit of the poses, 0 unknown, and confidence (H, W) float32 in [0, 1]."""

    depth: NDArray[np.float32]
    confidence: NDArray[np.float32]


@dataclass(frozen=True)
class NetworkOrigin:
    """A network of others that a source asks: what for (`depth`, `semantics`, `normals`), its name, the revision of its files,
    and the licence that they state, empty where they state none."""

    task: str
    name: str
    revision: str
    licence: str


@dataclass(frozen=True)
class Source:
    """A prediction source: `predict(frame)` gives depth and perhaps more, at the frame's size.

    `fingerprint` changes when its answers would; `is_costly` says that answers are worth storing in the run folder;
    `label_space` is what its labels mean, None when it gives none; `is_refined` says that its depth was corrected by the images
    of neighbouring frames; `needs_depth` that it gives depth only to frames that have a depth image. `notes` are things that a
    user should know, some found only while it answers. `predict_hinted` answers given what is known already;
    None for a source that has no use for it. `trust` says how good the answers are known to be. `pose_scale` gives the metres in
    one unit of the poses where the source found them. `predicts_labels` says that labels are guesses, which give way where
    geometry contradicts them. `files` are the files and folders that it reads while it answers, besides the sequence. `networks`
    are those of others that it asks. `about_depth` and `about_labels` are sentences on where these come from and how good they
    are known to be, in place of those of `provenance_text.py`. `depth_alone` predicts depth (H, W) in metres of a single image,
    for what poses cannot tell; None for a source that cannot. `turns` gives the quarter turns (N,) counter-clockwise, by position
    in the sequence, that brought the images upright which a network was shown; None where they were shown as they are.
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
    networks: tuple[NetworkOrigin, ...] = ()
    about_depth: str = ""
    about_labels: str = ""
    depth_alone: Callable[[Frame], NDArray[np.float32]] | None = None
    turns: Callable[[], NDArray[np.int64]] | None = None


def open_source(spec: str, sequence: FrameSequence, config: PipelineConfig | None = None) -> Source:
    """The source called `auto`, `recorded`, `multiview`, `m2h:NAME_OR_FILE`, `precomputed:DIR`, `hf:depth=NAME,...`,
    `mixed:depth=SRC,semantics=SRC`, or `module:function` or `module:function:ARGUMENT`, with the settings of the run.

    Such a function is given what follows it (empty without), the sequence and the settings, and returns a Source. Raises
    SourceError for an unknown name or a source that the sequence cannot feed.
    """
    name, colon, argument = spec.partition(":")
    if name in SOURCES:
        source = resolve(name, SOURCES)(argument, sequence, config or PipelineConfig())
        assert isinstance(source, Source)
        return source
    if not colon:
        known = ", ".join(sorted(SOURCES))
        raise SourceError(f"--source {spec}: unknown source {name!r}; known are {known}, or give module:function")
    attribute, _, argument = argument.partition(":")
    try:
        opener = resolve(f"{name}:{attribute}", SOURCES)
    except ValueError as error:
        raise SourceError(f"--source {spec}: {error}") from error
    source = opener(argument, sequence, config or PipelineConfig())
    if not isinstance(source, Source):
        raise SourceError(
            f"--source {spec}: expected a function (argument, sequence, config) that returns a pipelines.Source, "
            f"it returned {type(source).__name__}"
        )
    return replace(source, predict=lambda frame: checked(source.predict(frame), frame, spec))


def checked(answer: Predictions, frame: Frame, spec: str) -> Predictions:
    """The answer for a frame by code of others; raises SourceError that names what is wrong with it."""
    where = f"--source {spec}: frame {frame.index}"
    if not isinstance(answer, Predictions):
        raise SourceError(f"{where}: expected m2h.Predictions, got {type(answer).__name__}")
    for name in FIELDS:
        array = getattr(answer, name)
        if array is None:
            continue
        if array.shape[:2] != frame.rgb.shape[:2]:
            raise SourceError(f"{where}: {name} must be {frame.rgb.shape[:2]} like the image, got {array.shape[:2]}")
        low, high = RANGES.get(name, (0.0, 1.0))
        if np.issubdtype(array.dtype, np.floating) and not (array.min() >= low and array.max() <= high):
            raise SourceError(
                f"{where}: {name} must be numbers from {low:g} to {high:g}, got {array.min():g} to {array.max():g}"
            )
    return answer


def open_default(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """What the sequence contains, or, when no frame that can be used has depth, the network with the shipped checkpoint."""
    if has_depth(sequence):
        return open_recorded("", sequence, config)
    source = open_source("m2h", sequence, config)
    return replace(
        source, notes=[*source.notes, f"{sequence.name} has no depth: depth and labels are those of {source.name}"]
    )


def open_recorded(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """Depth and labels as the sequence contains them; raises SourceError when no frame that can be used has depth."""
    if not has_depth(sequence):
        raise SourceError(f"--source recorded: {sequence.name} has no depth; give m2h, multiview or precomputed:DIR")
    labels = sequence.label_space
    return Source("recorded", lambda frame: frame.recorded, "recorded", labels, DepthOrigin.SENSOR, needs_depth=True)
