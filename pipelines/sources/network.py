"""The multi-task network as a prediction source, given neighbouring frames and the map of a first pass where it can use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from m2h.camera import Camera
from m2h.predictions import GOOD_DEPTH
from mapping.camera import Intrinsics
from mapping.depth.pose_scale import PoseScale
from mapping.lru_cache import LruCache
from mapping.multiview.multiview_config import MOST_NEIGHBOURS
from mapping.multiview.neighbours import choose_neighbours
from mapping.packages import NETWORK_PACKAGES, require_networks
from pipelines.config import config_to_mapping
from pipelines.frame import Frame, FrameSequence, SequenceError, poses_of
from pipelines.levelling import floor_ids
from pipelines.loading import CachedSequence, chosen_positions
from pipelines.posing.level_surfaces import surface_heights
from pipelines.posing.pose_unit import estimate_unit
from pipelines.scaled import ScaledSequence
from pipelines.settings import NetworkConfig, PipelineConfig
from pipelines.sources.refinement import refined
from pipelines.sources.source import DepthOrigin, Hint, NetworkOrigin, Source
from pipelines.sources.upright import shown_upright
from pipelines.workspace import digest, folder_fingerprint
from scenegraph.labels import LabelSpace, load_label_space

if TYPE_CHECKING:
    from m2h.infer import MatchedView, Predictor
    from m2h.record import CheckpointRecord
    from m2h.views import View

Predict = Callable[[Frame], Predictions]
VERSION = 7
"""Counts changes of how the network is asked, so that stored answers are reused only where they would be the same."""
DETECTOR_VERSION = 1
"""Counts changes of the detector's evidence, for the same."""
WITH_DETECTOR = "With the detector of objects, which it was measured without, 64 % get a name, and 86 % are right."
KEPT_FEATURE_BYTES = 256 << 20
LEAST_MOVING = 1 / 1500
"""Share of an image from which on what may move in it is worth a second answer."""
MARGIN = 0.02
"""Share of the image's width around what may move whose depth is not shown, since it may be of either."""
SHOWN_CONFIDENCE = 0.9
"""Confidence with which the rest is shown."""
TURNS_ONLY = "the camera does not leave its place: depth is the network's of single images, which nothing confirms"
CERTAIN = 0.03
"""Scale of the error of log depth from which on a pixel weighs as much as any in fusion."""


def open_network(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """The multi-task network from a named checkpoint or a file (`m2h:NAME_OR_FILE`), also exported to ONNX or OpenVINO; from
    the shipped checkpoint without an argument.

    A network with cross-view matching is given neighbouring frames; its depth is then that of the poses. Raises m2h's own
    WeightsError or CheckpointError for weights that cannot be had, and LabelSpaceError when the checkpoint speaks an unknown
    label space. Images that lie on their side are shown to it upright.
    """
    return shown_upright(_open, argument, sequence, config)


def _open(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """The network as it answers for the images as they are stored."""
    from m2h.weights import DEFAULT_NAME, resolve_weights

    name = argument or DEFAULT_NAME
    exported = Path(name).suffix in (".onnx", ".xml")
    path = Path(name) if exported else resolve_weights(name)[0]  # a wrong name is said before torch is imported
    require_networks(f"--source m2h:{name}")
    from m2h.infer import Predictor

    predictor = Predictor.from_checkpoint(name)
    label_space = load_label_space(predictor.record.label_space) if "semantics" in predictor.tasks else None
    if label_space is not None:
        predictor = predictor_for_run(predictor, label_space, config.network)
    fingerprint = f"{predictor.record.to_json()} {folder_fingerprint(path)} {detector_fingerprint(predictor)}"
    title = f"m2h:{Path(name).name}"
    poses = poses_of(sequence)
    trust = predictor.record.notes or "how good the network is has not been measured"
    if predictor.detector is not None and name == DEFAULT_NAME:
        trust += f" {WITH_DETECTOR}"
    if not predictor.sees_neighbours or not has_baseline(poses):

        def predict(frame: Frame) -> Predictions:
            return predictor(frame.rgb, frame.intrinsics)

        return Source(
            title,
            predict,
            digest(fingerprint),
            label_space,
            DepthOrigin.NETWORK,
            is_costly=True,
            notes=[TURNS_ONLY] if predictor.sees_neighbours and np.isfinite(poses).all(axis=(1, 2)).sum() > 1 else [],
            trust=trust,
            predicts_labels="semantics" in predictor.tasks,
            networks=detector_origin(predictor),
            depth_alone=depth_alone_of(predictor),
        )
    # An unknown unit of the poses is found from the frames that are chosen, and neighbours are among those that are apart.
    is_given = sequence.is_metric or config.align.pose_scale is not None
    chosen = {} if is_given and config.frames.spacing.mode != "on" else config_to_mapping(config.frames)
    frames = (config_to_mapping(config.network.neighbours), config_to_mapping(config.network.wide_neighbours))
    settings = (*frames, config.align.pose_scale, chosen)
    asked = PosedNetwork(predictor, sequence, config, poses, label_space)
    return replace(asked.source(title, digest(fingerprint, VERSION, *settings)), trust=trust)


def shipped_views(sequence: FrameSequence, up: tuple[float, float, float] | None) -> tuple[Predict, LabelSpace | None]:
    """What the shipped network predicts of frames of a sequence with about this up direction, None if it is not known, by their
    neighbours and as these images prove it, and in which classes."""
    config, shared = PipelineConfig(up=up), CachedSequence(sequence)
    source = refined(open_network("", shared, config), "auto", shared, config)
    return source.predict, source.label_space


def shipped_depth_alone(sequence: FrameSequence) -> Callable[[Frame], NDArray[np.float32]] | None:
    """Depth in metres of single images of a sequence, shown upright, by the shipped network, which is loaded when it is first
    asked; None where what runs networks is not installed."""
    if not all(find_spec(package) for package in NETWORK_PACKAGES):
        return None

    @cache
    def asked() -> Callable[[Frame], NDArray[np.float32]]:
        found = open_network("", sequence, PipelineConfig()).depth_alone
        assert found is not None
        return found

    return lambda frame: asked()(frame)


def depth_alone_of(predictor: Predictor) -> Callable[[Frame], NDArray[np.float32]] | None:
    """Depth in metres of single images by a network; None for one without depth."""
    if "depth" not in predictor.tasks:
        return None
    return lambda frame: predictor.depth_alone(frame.rgb, frame.intrinsics)


def predictor_for_run(predictor: Predictor, label_space: LabelSpace, config: NetworkConfig) -> Predictor:
    """The predictor as a run asks it for labels: without vague names, and, for a network that matches neighbouring frames, with
    the detector's evidence if that is wanted."""
    from m2h.detection.detector import Detector
    from m2h.infer import DETECTED_SPACE, Predictor

    record = predictor.record
    is_detected = config.detector and predictor.sees_neighbours and record.label_space == DETECTED_SPACE
    detector = Detector.shipped(predictor.device) if is_detected else None
    if record.broader is not None:
        record = without_vague_names(record, label_space)
    return Predictor(predictor.network, record, predictor.config, detector)


def detector_fingerprint(predictor: Predictor) -> str:
    """Changes when the detector or its evidence does; empty without one."""
    from m2h.detection.detector import DETECTOR

    return "" if predictor.detector is None else f"{DETECTOR_VERSION} {folder_fingerprint(DETECTOR)}"


def detector_origin(predictor: Predictor) -> tuple[NetworkOrigin, ...]:
    """What detector the predictor asks, if any."""
    from m2h.detection.detector import LICENCE, NAME, REVISION

    return () if predictor.detector is None else (NetworkOrigin("semantics", NAME, REVISION, LICENCE),)


def without_vague_names(record: CheckpointRecord, label_space: LabelSpace) -> CheckpointRecord:
    """The record of a network that names groups of classes by one of them, such as table, but never as other furniture or props.

    In a map the frames that know the class decide; a vague name next to it would be an object of its own.
    """
    assert record.broader is not None
    vague = [label_space.name_of(broad).startswith("other") for broad in record.broader]
    return replace(
        record,
        broader=tuple(c if no else broad for c, (no, broad) in enumerate(zip(vague, record.broader, strict=True))),
    )


@dataclass
class PosedNetwork:
    """Asks a network with cross-view matching for the frames of a sequence. Nothing is read before the first answer.

    The network learnt in metres: poses in another unit are brought to them, by the settings or by the network's own depth from
    single images at sparse points, and depth is brought back to the unit of the poses.
    """

    predictor: Predictor
    sequence: FrameSequence
    config: PipelineConfig
    poses: NDArray[np.float64]
    label_space: LabelSpace | None = None

    def __post_init__(self) -> None:
        self.notes: list[str] = []
        self._matched: LruCache[MatchedView] = LruCache(
            KEPT_FEATURE_BYTES, lambda view: view.features.element_size() * view.features.nelement()
        )

    @cached_property
    def scale(self) -> PoseScale | None:
        """Metres in one unit of the poses, and how far frames differ; None where the poses are taken for metres."""
        given = self.config.align.pose_scale
        if given is not None:
            return PoseScale(given, None)
        if self.sequence.is_metric:
            return None
        positions = chosen_positions(self.sequence, self.config.frames)
        floor = None if self.label_space is None else self._floor
        found = estimate_unit(self.sequence, positions, self._depth_alone, floor)
        if found is None:
            return None
        found = found.with_surfaces(self._surfaces(found.scale, positions))
        return PoseScale(found.scale, found.spread, found.deviation, found.evidence)

    def _surfaces(self, scale: float, positions: list[int]) -> list[float]:
        """Heights of level surfaces in metres, with so many metres in one unit of the poses."""
        metric = CachedSequence(ScaledSequence(self.sequence, scale))
        asked = replace(self, sequence=metric, poses=poses_of(metric))
        source = refined(asked.source("", ""), "auto", metric, self.config)
        return surface_heights(metric, asked.poses, source.predict, self.label_space, positions=positions)

    def source(self, title: str, fingerprint: str) -> Source:
        """The source that it is."""
        return Source(
            title,
            self.predict,
            fingerprint,
            self.label_space,
            DepthOrigin.POSES,
            is_costly=True,
            notes=self.notes,
            predict_hinted=self.predict_hinted,
            pose_scale=lambda: self.scale,
            predicts_labels=self.label_space is not None,
            networks=detector_origin(self.predictor),
            depth_alone=depth_alone_of(self.predictor),
        )

    @cached_property
    def metric_poses(self) -> NDArray[np.float64]:
        """The poses (N, 4, 4) in the network's metres; not finite for frames that are not used."""
        metric = self.poses.copy()
        metric[:, :3, 3] *= self._factor
        return metric

    @cached_property
    def _factor(self) -> float:
        if self.scale is not None:
            return self.scale.scale
        if not self.sequence.is_metric:
            self.notes.append(
                "the unit of the poses is unknown and cannot be found from the images: it is taken for a metre; "
                "give it with --scale"
            )
        return 1.0

    def predict(self, frame: Frame) -> Predictions:
        """The network's predictions for a frame given its neighbours: depth in the unit of the poses, confidence as a weight of
        fusion."""
        return self.predict_hinted(frame, None)

    def predict_hinted(self, frame: Frame, hint: Hint | None) -> Predictions:
        """The same, given what a map in the unit of the poses shows of the frame."""
        from m2h.infer import DepthHint

        position, factor = frame.index, np.float32(self._factor)
        matches = map(self._match, self._neighbours(position, frame.intrinsics))
        matched = [match for match in matches if match is not None]
        asked = None if hint is None else DepthHint(hint.depth * factor, hint.confidence)
        view = self._view(frame, position)
        found = self._with_moving_completed(view, self.predictor.predict_view(view, matched, asked))
        depth = None if found.depth is None else found.depth / factor
        confidence = None if found.confidence is None else precision_of(found.confidence)
        return replace(found, depth=depth, confidence=confidence)

    def _with_moving_completed(self, view: View, found: Predictions) -> Predictions:
        """Depth in metres of what may move by the image and the depth of what is around it: neighbouring frames and hints show
        what was there at other times."""
        from m2h.infer import DepthHint

        if found.depth is None or found.labels is None or self.label_space is None:
            return found
        moving = self.label_space.mask_of_kind("dynamic", found.labels)
        if moving.mean() < LEAST_MOVING:
            return found
        radius = round(MARGIN * moving.shape[1])
        still = cv2.dilate(moving.astype(np.uint8), np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)) == 0
        shown = DepthHint(np.where(still, found.depth, 0), np.where(still, SHOWN_CONFIDENCE, 0).astype(np.float32))
        again = self.predictor.predict_view(view, (), shown, tasks=("depth",)).depth
        return found if again is None else replace(found, depth=np.where(moving, again, found.depth))

    def _neighbours(self, position: int, camera: Intrinsics) -> list[int]:
        poses = self._apart.copy()
        poses[position] = self.metric_poses[position]
        return network_neighbours(poses, camera, position, self.config.network)

    @cached_property
    def _apart(self) -> NDArray[np.float64]:
        """The poses (N, 4, 4) in metres of the frames that may be neighbours: all, or those that are apart where others are left
        out."""
        if self.config.frames.spacing.mode != "on":
            return self.metric_poses
        poses = np.full_like(self.metric_poses, np.nan)
        everywhere = replace(self.config.frames, stride=1, start=0, stop=None)
        apart = chosen_positions(self.sequence, everywhere)
        poses[apart] = self.metric_poses[apart]
        return poses

    def _match(self, position: int) -> MatchedView | None:
        """The matching features of a frame; None for one that cannot be read."""
        try:
            return self._matched.get(position, lambda: self._make_match(position))
        except SequenceError:
            return None

    def _make_match(self, position: int) -> MatchedView:
        return self.predictor.match(self._view(self.sequence[position], position))

    def _view(self, frame: Frame, position: int) -> View:
        from m2h.views import View

        camera = frame.intrinsics
        return View(frame.rgb, Camera(camera.fx, camera.fy, camera.cx, camera.cy), self.metric_poses[position])

    def _depth_alone(self, frame: Frame) -> NDArray[np.float32]:
        """Depth in metres by the single image."""
        return self.predictor.depth_alone(frame.rgb, frame.intrinsics)

    def _floor(self, frame: Frame) -> NDArray[np.bool_]:
        """Where the single image shows floor."""
        labels = self.predictor(frame.rgb, frame.intrinsics).labels
        assert labels is not None
        assert self.label_space is not None
        return np.asarray(np.isin(labels, floor_ids(self.label_space)))


def network_neighbours(poses: NDArray[np.float64], camera: Intrinsics, index: int, config: NetworkConfig) -> list[int]:
    """The frames that a network is given with frame `index`: those that match best, and after them those under a larger angle.

    `poses` (N, 4, 4) are `T_world_camera` in metres. Raises ValueError as `choose_neighbours`.
    """
    first = choose_neighbours(poses, camera, index, config.neighbours)
    wanted = config.wide_neighbours.count
    # As many more are asked for as may be among the first already.
    wide = choose_neighbours(
        poses, camera, index, replace(config.wide_neighbours, count=min(MOST_NEIGHBOURS, 2 * wanted))
    )
    return first + [other for other in wide if other not in first][:wanted]


def precision_of(confidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights (H, W) in [0, 1] in proportion to the inverse variance of depth that is right with this confidence.

    The error of log depth is taken for Laplace-distributed, as the network learns it, and confidence (H, W) for the
    probability that it is below `GOOD_DEPTH`. A mean is best with such weights; with the probabilities themselves, many
    frames that know little would outvote the few that know.
    """
    scale = -GOOD_DEPTH / np.log1p(-np.clip(confidence.astype(np.float64), 1e-6, 1 - 1e-6))
    return np.minimum(1, (CERTAIN / scale) ** 2).astype(np.float32)


def has_baseline(poses: NDArray[np.float64]) -> bool:
    """Whether two cameras stand apart, without which there is nothing to match."""
    places = poses[np.isfinite(poses).all(axis=(1, 2)), :3, 3]
    return len(places) > 1 and bool(np.ptp(places, axis=0).any())
