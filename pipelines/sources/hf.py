"""Networks of the Hugging Face hub as a prediction source: `hf:depth=NAME,semantics=NAME,normals=NAME`.

Metric depth is given in metres, with an error of scale in every frame that the alignment corrects; depth up to scale and shift
is fitted to what images prove. Labels are brought to NYU40. Answers are stored in the run folder, so each image is asked once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.depth.depth_weights import normals_from_depth
from mapping.evenly import evenly
from pipelines.frame import Frame, FrameSequence, SequenceError
from pipelines.loading import chosen_positions
from pipelines.settings import PipelineConfig
from pipelines.sources.fitting import DepthShape, fitted
from pipelines.sources.hf_files import HubCheckpoint, find_checkpoint
from pipelines.sources.hf_networks import HubDepth, HubLabels, HubNormals
from pipelines.sources.source import DepthOrigin, NetworkOrigin, Source, SourceError
from pipelines.sources.upright import shown_upright
from pipelines.workspace import digest
from scenegraph.label_tables import nyu40_of_names, table_to_nyu40
from scenegraph.labels import known_label_spaces, load_label_space, nyu40

VERSION = 1
"""Counts changes of how networks are asked, so that stored answers are reused only where they would be the same."""
TASKS = ("depth", "semantics", "normals")
KINDS = ("metric", "disparity", "relative")
OPTIONS = (*TASKS, "kind", "space")
KIND_OF_TYPE = {"depth_pro": "metric", "glpn": "metric", "zoedepth": "metric", "tipsv2_dpt": "metric"}
"""What the depth of architectures is that give one kind only."""
AXIS_PROBES = 4
"""Frames, spread over the sequence, that show the axes of a network's normals."""
LEAST_COSINE = 0.5
"""Mean cosine between a network's normals and those of its depth below which the axes are unknown."""


def open_hf(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """The source of `depth=NAME,semantics=NAME,normals=NAME`, each a folder or a name of the hub, any of them absent.

    `kind=metric|disparity|relative` says what the depth is where the checkpoint does not, and `space=NAME` to which label space
    the classes belong, in order, where the checkpoint has no names of them. Images that lie on their side are shown to them
    upright. Raises SourceError in one line.
    """
    return shown_upright(_open, argument, sequence, config)


def _open(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """The networks as they answer for the images as they are stored."""
    options = _options(argument)
    found = {task: find_checkpoint(options[task]) for task in TASKS if task in options}
    notes = [note for checkpoint in found.values() for note in checkpoint.notes()]
    kind = _kind(found["depth"], options.get("kind")) if "depth" in found else ""
    table = _table(found["semantics"], options.get("space"), notes) if "semantics" in found else None
    asked = HubNetworks(found, table, kind, sequence, config, notes)
    source = Source(
        "hf:" + ",".join(f"{task}={checkpoint.title}" for task, checkpoint in found.items()),
        asked.predict,
        digest("hf", VERSION, options.get("space"), kind, {task: c.revision for task, c in found.items()}),
        nyu40() if table is not None else None,
        DepthOrigin.NETWORK,
        is_costly=True,
        notes=notes,
        predicts_labels=table is not None,
        networks=tuple(NetworkOrigin(task, c.name, c.revision, c.licence) for task, c in found.items()),
    )
    return source if kind in ("", "metric") else fitted(source, DepthShape(kind), sequence, config)


def _options(argument: str) -> dict[str, str]:
    """What is assigned; raises SourceError for other words, and without any network."""
    options: dict[str, str] = {}
    for assignment in filter(None, argument.split(",")):
        name, equals, value = assignment.partition("=")
        if not equals or not value or name not in OPTIONS or name in options:
            raise SourceError(
                f"--source hf:{argument}: expected NAME=VALUE, each NAME once and one of {', '.join(OPTIONS)}; got {assignment!r}"
            )
        options[name] = value
    if not set(options) & set(TASKS):
        raise SourceError(f"--source hf:{argument}: expected depth=NAME, semantics=NAME or both")
    if options.get("kind", "metric") not in KINDS:
        raise SourceError(f"--source hf: kind={options['kind']}: expected one of {', '.join(KINDS)}")
    if options.get("space", "nyu40") not in known_label_spaces():
        known = ", ".join(known_label_spaces())
        raise SourceError(f"--source hf: space={options['space']}: expected one of {known}")
    return options


def _kind(checkpoint: HubCheckpoint, given: str | None) -> str:
    """What the depth of a network is; raises SourceError where that is neither given nor known."""
    config, known = checkpoint.config, KIND_OF_TYPE.get(checkpoint.model_type)
    if checkpoint.model_type == "depth_anything":
        known = "metric" if config.get("depth_estimation_type") == "metric" else "disparity"
    if checkpoint.model_type == "dpt":
        backbone = config.get("backbone_config")
        # Intel's are MiDaS; those with DINOv2 as backbone were trained in metres.
        of_dino = isinstance(backbone, dict) and backbone.get("model_type") == "dinov2"
        known = "metric" if of_dino else "disparity"
    if given is None and known is None:
        raise SourceError(
            f"--source hf: {checkpoint.name}: what depth {checkpoint.model_type} gives is not known; add kind=metric "
            "(metres), kind=disparity or kind=relative (inverse depth or depth up to scale and shift)"
        )
    return given or known or ""


def _table(checkpoint: HubCheckpoint, space: str | None, notes: list[str]) -> NDArray[np.uint8]:
    """The ids in NYU40 of a network's classes (n,); raises SourceError where they cannot be identified."""
    if space is not None:
        return table_to_nyu40(load_label_space(space))[1:]
    names = checkpoint.class_names
    if not names:
        raise SourceError(
            f"--source hf: {checkpoint.name}: its config.json has no names of classes; add space=NAME, "
            f"one of {', '.join(known_label_spaces())}"
        )
    found = nyu40_of_names(names)
    if not found.ids.any():
        shown = ", ".join(names[:8])
        raise SourceError(f"--source hf: {checkpoint.name}: none of its classes is in NYU40 ({shown}, ...)")
    if found.foreign and not found.space:
        shown = ", ".join(found.foreign[:8]) + (", ..." if len(found.foreign) > 8 else "")
        notes.append(f"{len(found.foreign)} of {len(names)} classes of {checkpoint.name} are not known ({shown})")
    return found.ids


@dataclass
class HubNetworks:
    """Asks the networks of a source for frames; `kind` is that of the depth, empty without one."""

    checkpoints: dict[str, HubCheckpoint]
    table: NDArray[np.uint8] | None
    kind: str
    sequence: FrameSequence
    config: PipelineConfig
    notes: list[str]

    def predict(self, frame: Frame) -> Predictions:
        """What the networks say of a frame."""
        answer = Predictions()
        if self._depth is not None:
            answer = replace(answer, depth=self._depth(frame.rgb, frame.intrinsics))
        if self._labels is not None:
            labels, confidence = self._labels(frame.rgb)
            answer = replace(answer, labels=labels, label_confidence=confidence)
        if self._normals is not None and self._axes is not None:
            answer = replace(answer, normals=self._normals(frame.rgb) * self._axes)
        return answer

    @cached_property
    def _depth(self) -> HubDepth | None:
        return HubDepth(self.checkpoints["depth"]) if "depth" in self.checkpoints else None

    @cached_property
    def _labels(self) -> HubLabels | None:
        return None if self.table is None else HubLabels(self.checkpoints["semantics"], self.table)

    @cached_property
    def _normals(self) -> HubNormals | None:
        return HubNormals(self.checkpoints["normals"]) if "normals" in self.checkpoints else None

    @cached_property
    def _axes(self) -> NDArray[np.float32] | None:
        """Signs (3,) that bring the network's normals to the camera's axes; None where they cannot be found."""
        name = self.checkpoints["normals"].name
        if self._depth is None:
            self.notes.append(f"normals of {name} are not used: without depth their axes cannot be found")
            return None
        pairs = []
        for position in evenly(chosen_positions(self.sequence, self.config.frames), AXIS_PROBES):
            try:
                frame = self.sequence[position]
            except SequenceError:
                continue
            assert self._normals is not None
            depth = self._depth(frame.rgb, frame.intrinsics)
            if self.kind == "disparity":
                depth = like_depth(depth)
            pairs.append((self._normals(frame.rgb), normals_from_depth(depth, frame.intrinsics)))
        found = axes_of(pairs)
        if found is None:
            self.notes.append(f"normals of {name} are not used: they do not agree with the depth, in any axes")
        return found


def like_depth(disparity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Something (H, W) that grows with depth as depth does, from disparity of unknown scale and shift."""
    low, high = np.percentile(disparity, (5, 95))
    return (1 / (0.25 + np.clip((disparity - low) / max(high - low, 1e-9), 0, 1.5))).astype(np.float32)


def axes_of(pairs: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> NDArray[np.float32] | None:
    """The signs (3,) of the axes under which normals (H, W, 3) agree best with those of depth, in pairs; None where they hardly
    do."""
    if not pairs:
        return None
    said = np.concatenate([normals.reshape(-1, 3) for normals, _ in pairs]).astype(np.float64)
    own = np.concatenate([normals.reshape(-1, 3) for _, normals in pairs]).astype(np.float64)
    both = said.any(axis=1) & own.any(axis=1)
    products = said[both] * own[both]
    if not len(products):
        return None
    signs = np.where(products.mean(axis=0) < 0, -1.0, 1.0)
    if (products @ signs).mean() < LEAST_COSINE:
        return None
    return signs.astype(np.float32)
