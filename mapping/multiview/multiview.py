"""Depth from several posed images without a network: a plane sweep per frame, verified against the sweeps of other frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.camera import Intrinsics
from mapping.lru_cache import LruCache
from mapping.multiview.depth_range import DepthRange, find_depth_range
from mapping.multiview.multiview_config import MultiviewConfig, NeighbourConfig
from mapping.multiview.neighbours import choose_neighbours
from mapping.multiview.views import PosedImage, Prior
from mapping.packages import require
from mapping.se3 import inverse
from mapping.threads import thread_count

Depth = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Depth (H, W) in metres, 0 unknown, and confidence (H, W) in [0, 1]."""

GREY = np.array([0.299, 0.587, 0.114], np.float32) / 255
CACHED_BYTES = 128 << 20  # of small images, and as much of depths, that are kept for other frames
READ_THROUGH = 32  # frames before a requested one that are read in passing, so that none is sought again later
ROOM = DepthRange(0.5, 8.0, 2.0, 0)
"""The depth range assumed where neither the settings nor the images give one: that of a room, in metres."""
RIM_PX = 7  # a pixel with an empty pixel in a window of this width around it is empty itself
SPECKLE_JUMP = 0.05  # relative step of depth at which a patch ends
PROVED = 0.5  # confidence of a hint from which on its depth is proved
DOUBTFUL = 0.49  # highest confidence of one elsewhere
LEAST_SAID = 0.01  # confidence of a hint that says anything at all
SAME_SURFACE = 0.05  # relative difference up to which adjacent pixels are interpolated when depth is enlarged


def sweep_depth(
    reference: PosedImage,
    neighbours: Sequence[PosedImage],
    config: MultiviewConfig | None = None,
    *,
    prior_depth: NDArray[np.float32] | None = None,
    prior_normals: NDArray[np.float32] | None = None,
) -> Depth:
    """Depth of one image from its neighbours, at its own size, and the confidence of each pixel.

    Every pixel that some neighbour could see gets a depth, right or wrong: the confidence distinguishes them, and
    `MultiviewDepth` verifies it against the depth of the neighbours.

    Parameters
    ----------
    reference : the image whose depth is wanted.
    config : settings; without a depth range in them, that of a room in metres is assumed.
    neighbours : images of the same surfaces from other positions, see `choose_neighbours`; without any, all is unknown.
    prior_depth : (H, W) float32 metres predicted by a network, 0 unknown. Decides where the images are ambiguous.
    prior_normals : (H, W, 3) float32 in camera axes, 0 unknown. Surfaces are smoothed along them.

    Raises ValueError that names the argument and the expected shape.
    """
    config = with_range(config or MultiviewConfig(), ROOM)
    height, width = reference.rgb.shape[:2]
    for name, image, shape in (
        ("prior_depth", prior_depth, (height, width)),
        ("prior_normals", prior_normals, (height, width, 3)),
    ):
        if image is not None and image.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {image.shape}")
    if not neighbours:
        return np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    size = _working_size(reference.intrinsics, config)
    small = [
        _shrink(view, size, f"neighbours[{i - 1}]" if i else "reference")
        for i, view in enumerate([reference, *neighbours])
    ]
    found = _sweep(small[0], small[1:], Prior(prior_depth, prior_normals), config)
    assert found is not None
    return _enlarge(found, (height, width))


class MultiviewDepth:
    """Depth of the frames of a sequence, each verified against that of its neighbours. Sweeps of frames are cached.

    Parameters
    ----------
    load : returns the image of a frame by its number, or None for an unreadable one, which is then ignored. Called mostly
        in order.
    poses : (N, 4, 4) `T_world_camera` of frames 0 to N - 1; not finite for those that are lost.
    intrinsics : the camera, without lens distortion; frames of other sizes are brought to its size.
    config : settings; without a depth range in them, it is estimated from the images when it is first needed.
    prior : returns what a network predicts for a frame by its number.
    wanted : (N,) bool, the frames whose depth will be requested: they verify each other; None is all. Other frames are swept
        and compared only where too few of the wanted ones see the same surfaces.
    """

    def __init__(
        self,
        load: Callable[[int], PosedImage | None],
        poses: ArrayLike,
        intrinsics: Intrinsics,
        config: MultiviewConfig | None = None,
        *,
        prior: Callable[[int], Prior] | None = None,
        wanted: NDArray[np.bool_] | None = None,
    ) -> None:
        require("torch", extra="torch", purpose="depth from several images")
        self._given = config or MultiviewConfig()
        self.poses = np.asarray(poses, dtype=np.float64)
        self.intrinsics = intrinsics
        self._load = load
        self._prior = prior
        self._size = _working_size(intrinsics, self._given)
        self._farthest = -1
        self._wanted_poses = self.poses if wanted is None else np.where(wanted[:, None, None], self.poses, np.nan)
        pixels = self._size[0] * self._size[1]
        self._images: LruCache[_SmallView | None] = LruCache(CACHED_BYTES, lambda _: 5 * pixels)
        self._estimates: LruCache[Future[_Estimate | None]] = LruCache(CACHED_BYTES, lambda _: 8 * pixels)
        self._expected: int | None = None
        self._pool = _threads()

    @cached_property
    def range(self) -> DepthRange | None:
        """The depth range estimated from the images; None when they share too few points."""
        return find_depth_range(self._load, self.poses)

    @property
    def range_is_assumed(self) -> bool:
        """Whether neither settings nor images give a depth range, so that a room in metres is assumed."""
        return with_range(self._given, ROOM) != self._given and self.range is None

    @cached_property
    def config(self) -> MultiviewConfig:
        """The settings with a depth range: their own, else that of the images, else that of a room in metres."""
        if with_range(self._given, ROOM) == self._given:
            return self._given
        return with_range(self._given, self.range or ROOM)

    def __call__(self, index: int, shape: tuple[int, int] | None = None) -> Depth:
        """Depth and confidence of a frame at a size (h, w), that of `intrinsics` by default; all unknown when no neighbour is
        found.

        A pixel is known where at least `min_agreeing` neighbours found the same surface independently; its depth is then the
        mean of theirs and its own.
        """
        shape = shape or (self.intrinsics.height, self.intrinsics.width)
        proved, _ = self._found(index)
        return self._unknown(shape) if proved is None else _enlarge(proved, shape)

    def hint(self, index: int, shape: tuple[int, int] | None = None) -> Depth:
        """As a call, with what the frame's own sweep says where nothing is proved, right or wrong, for a network that is to
        judge it: confidence is at least `PROVED` where depth is proved, below elsewhere."""
        shape = shape or (self.intrinsics.height, self.intrinsics.width)
        proved, own = self._found(index)
        if own is None:
            return self._unknown(shape)
        inverse, confidence = own.inverse, DOUBTFUL * own.confidence
        if proved is not None:
            known = proved.inverse > 0
            inverse = np.where(known, proved.inverse, inverse)
            confidence = np.where(known, PROVED + (1 - PROVED) * proved.confidence, confidence)
        confidence = np.where(inverse > 0, np.maximum(confidence, LEAST_SAID), 0)
        return _enlarge(_Estimate(inverse, confidence.astype(np.float32), own.view), shape)

    @staticmethod
    def _unknown(shape: tuple[int, int]) -> Depth:
        return np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def _found(self, index: int) -> tuple[_Estimate | None, _Estimate | None]:
        """What is proved of a frame, None where no other frame can prove anything, and its own sweep, None without neighbours."""
        together = [index, *self.witnesses(index)]
        estimates = self._begin(together)
        if index == self._expected:  # requested in order: sweep what the next frame needs in the background
            following = self._following(index)
            self._begin([] if following is None else [following, *self.witnesses(following)])
        self._expected = self._following(index)
        own, *found = (estimate.result() for estimate in estimates)
        others = [estimate for estimate in found if estimate is not None]
        if own is None or not others:
            return None, own
        return self._pool.submit(_verified, own, others, self.config).result(), own

    def neighbours(self, index: int) -> list[int]:
        """The frames that a frame is compared with; none when its pose is lost."""
        return self._chosen(self.poses, index, self.config.neighbours)

    def witnesses(self, index: int) -> list[int]:
        """The frames whose depth verifies that of a frame; none when its pose is lost."""
        settings = replace(self.config.neighbours, count=self.config.witnesses)
        found = self._chosen(self._wanted_poses, index, settings)
        return found if len(found) >= self.config.min_agreeing else self._chosen(self.poses, index, settings)

    def _chosen(self, poses: NDArray[np.float64], index: int, settings: NeighbourConfig) -> list[int]:
        if not np.isfinite(self.poses[index]).all():
            return []
        if not np.isfinite(poses[index]).all():
            poses = poses.copy()
            poses[index] = self.poses[index]
        return choose_neighbours(poses, self.intrinsics, index, settings)

    def _following(self, index: int) -> int | None:
        """The next frame whose depth is wanted."""
        finite = np.isfinite(self._wanted_poses[index + 1 :]).all(axis=(1, 2))
        return index + 1 + int(finite.argmax()) if finite.any() else None

    def _begin(self, indices: Sequence[int]) -> list[Future[_Estimate | None]]:
        """The sweeps of these frames; those not started yet are started in threads of the pool. Callers share a sweep."""
        return [self._estimates.get(i, partial(self._submit, i)) for i in indices]

    def _submit(self, index: int) -> Future[_Estimate | None]:
        image = self._image(index)
        neighbours = [view for j in self.neighbours(index) if (view := self._image(j)) is not None]
        prior = Prior() if self._prior is None or image is None else self._prior(index)
        return self._pool.submit(_sweep, image, neighbours, prior, self.config)

    def _image(self, index: int) -> _SmallView | None:
        # Frames in between will be requested too, and seeking back in a video is slow.
        for i in range(max(self._farthest + 1, index - READ_THROUGH), index):
            self._images.get(i, partial(self._read, i))
        self._farthest = max(self._farthest, index)
        return self._images.get(index, partial(self._read, index))

    def _read(self, index: int) -> _SmallView | None:
        view = self._load(index) if np.isfinite(self.poses[index]).all() else None
        return None if view is None else _shrink(view, self._size, f"frame {index}")


def with_range(config: MultiviewConfig, depths: DepthRange) -> MultiviewConfig:
    """The settings with the missing parts of their depth range filled in."""
    near, far = config.min_depth, config.max_depth
    if near is None:
        near = depths.near if far is None else min(depths.near, 0.5 * far)
    far = max(depths.far, 2 * near) if far is None else far
    neighbours = config.neighbours
    if neighbours.scene_depth is None:
        neighbours = replace(neighbours, scene_depth=float(np.clip(depths.typical, near, far)))
    return replace(config, min_depth=near, max_depth=far, neighbours=neighbours)


@dataclass(frozen=True, eq=False)
class _SmallView:
    """A grey image (h, w) float32 in 0..1 with its camera (3, 3) and pose; `empty` (h, w) marks pixels without image content."""

    grey: NDArray[np.float32]
    K: NDArray[np.float64]
    T_world_camera: NDArray[np.float64]
    empty: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Estimate:
    """The result of the sweep of a view: inverse depth (h, w), 0 unknown, and confidence (h, w)."""

    inverse: NDArray[np.float32]
    confidence: NDArray[np.float32]
    view: _SmallView


def _working_size(intrinsics: Intrinsics, config: MultiviewConfig) -> tuple[int, int]:
    """Even (height, width) at which images are compared: the long side as configured, never enlarged."""
    scale = min(1.0, config.width / max(intrinsics.width, intrinsics.height))
    return (max(2 * round(0.5 * intrinsics.height * scale), 16), max(2 * round(0.5 * intrinsics.width * scale), 16))


def _shrink(view: PosedImage, size: tuple[int, int], name: str) -> _SmallView:
    shape = (view.intrinsics.height, view.intrinsics.width, 3)
    if view.rgb.shape != shape:
        raise ValueError(f"{name}: rgb must have shape {shape} like its intrinsics, got {view.rgb.shape}")
    if view.intrinsics.is_distorted:
        raise ValueError(f"{name}: intrinsics have lens distortion; undistort the image first")
    grey = cv2.resize(view.rgb.astype(np.float32) @ GREY, size[::-1], interpolation=cv2.INTER_AREA)
    # Pure black lies outside the image of an undistorted lens; its border moves with the camera and would match itself.
    empty = cv2.dilate((grey == 0).astype(np.uint8), np.ones((RIM_PX, RIM_PX), np.uint8)) > 0
    return _SmallView(grey, view.intrinsics.resized(size[1], size[0]).matrix, view.T_world_camera, empty)


def _sweep(
    reference: _SmallView | None, neighbours: Sequence[_SmallView], prior: Prior, config: MultiviewConfig
) -> _Estimate | None:
    """Sweep a view; None without an image of it or without a neighbour."""
    import torch

    from mapping.multiview.sweep import SweepInput, sweep

    if reference is None or not neighbours:
        return None
    device = _device(config)
    tensors = _stacked([reference], [neighbours]) | _stacked_priors([prior], reference.grey.shape)
    views = SweepInput(**{name: torch.from_numpy(np.ascontiguousarray(x)).to(device) for name, x in tensors.items()})
    inverse_depth, confidence = (x[0].cpu().numpy() for x in sweep(views, config))
    seen = ~reference.empty
    return _Estimate(np.where(seen, inverse_depth, 0), np.where(seen, confidence, 0), reference)


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads that sweep one frame each. PyTorch's own threads, which share every small step of one sweep, mostly wait."""
    import torch

    torch.get_num_threads()  # fixes the count for the calling thread before the initializer changes that of new ones
    return ThreadPoolExecutor(thread_count(None), "multiview", initializer=torch.set_num_threads, initargs=(1,))


def _stacked_priors(priors: Sequence[Prior], shape: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
    """The priors of a `SweepInput` at the size (h, w) of its images; a kind that no frame has is omitted."""
    height, width = shape[:2]
    arrays: dict[str, NDArray[np.float32]] = {}
    if any(prior.depth is not None for prior in priors):
        depths = [np.zeros((1, 1), np.float32) if prior.depth is None else prior.depth for prior in priors]
        arrays["prior_inverse"] = np.stack([_inverted(_nearest(depth, width, height)) for depth in depths])
    if any(prior.normals is not None for prior in priors):
        normals = [np.zeros((1, 1, 3), np.float32) if prior.normals is None else prior.normals for prior in priors]
        arrays["prior_normals"] = np.stack([_nearest(image, width, height).transpose(2, 0, 1) for image in normals])
    return arrays


def _nearest(image: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))


def _stacked(references: Sequence[_SmallView], neighbours: Sequence[Sequence[_SmallView]]) -> dict[str, NDArray[Any]]:
    """The arrays of a `SweepInput`; a reference with fewer neighbours is padded with itself, marked as not present."""
    count = max(len(others) for others in neighbours)
    filled = [[*others, *[view] * (count - len(others))] for view, others in zip(references, neighbours, strict=True)]
    return {
        "reference": np.stack([view.grey for view in references]),
        "neighbours": np.stack([[other.grey for other in others] for others in filled]),
        "present": np.arange(count) < np.array([[len(others)] for others in neighbours]),
        "K_reference": np.stack([view.K for view in references]).astype(np.float32),
        "K_neighbours": np.stack([[other.K for other in others] for others in filled]).astype(np.float32),
        "T_neighbour_reference": np.stack(
            [
                [inverse(other.T_world_camera) @ view.T_world_camera for other in others]
                for view, others in zip(references, filled, strict=True)
            ]
        ).astype(np.float32),
    }


def _verified(own: _Estimate, others: Sequence[_Estimate], config: MultiviewConfig) -> _Estimate:
    """The estimate with the depth that frames agree on, unknown where none agrees and in isolated patches."""
    import torch

    from mapping.multiview.consistency import agreement, distance_confidence, joint_confidence, speckles
    from mapping.multiview.cost import make_warp

    arrays = _stacked([own.view], [[other.view for other in others]])
    arrays |= {
        "inverse": own.inverse[None],
        "confidence": own.confidence[None],
        "others": np.stack([other.inverse for other in others])[None],
        "other_confidence": np.stack([other.confidence for other in others])[None],
    }
    t = {name: torch.from_numpy(x).to(_device(config)) for name, x in arrays.items()}
    height, width = own.inverse.shape
    warp = make_warp(t["K_reference"], t["K_neighbours"], t["T_neighbour_reference"], (height, width))
    agreed = agreement(t["inverse"], t["confidence"], t["others"], t["other_confidence"], warp, config.agreement)
    least = min(config.min_agreeing, len(others))
    confidence = joint_confidence(t["confidence"], agreed, least, len(others))[0].cpu().numpy()
    inverse_depth = np.where(confidence > config.min_confidence, agreed.inverse[0].cpu().numpy(), 0)
    alone = speckles(_inverted(inverse_depth), config.speckle_px, SPECKLE_JUMP)
    known = np.where((inverse_depth > 0) & ~alone, np.float32(1), np.float32(0))
    confidence = known * confidence * distance_confidence(inverse_depth, config.neighbours.scene_depth)
    return _Estimate(known * inverse_depth, confidence, own.view)


def _enlarge(found: _Estimate, shape: tuple[int, int]) -> Depth:
    """Depth and confidence at another size: interpolated between pixels of one surface, of the nearest pixel elsewhere."""
    if found.inverse.shape == shape:
        return _inverted(found.inverse), found.confidence.astype(np.float32)
    size = shape[::-1]
    nearest = cv2.resize(found.inverse, size, interpolation=cv2.INTER_NEAREST_EXACT)
    linear = cv2.resize(found.inverse, size, interpolation=cv2.INTER_LINEAR)
    known = cv2.resize((found.inverse > 0).astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 1 - 1e-4
    same = known & (np.abs(linear - nearest) <= SAME_SURFACE * nearest)
    confidence = cv2.resize(found.confidence, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return _inverted(np.where(same, linear, nearest)), confidence.astype(np.float32)


def _inverted(x: NDArray[np.floating]) -> NDArray[np.float32]:
    """1 / x, 0 where x is not positive: inverse depth to depth and back."""
    return np.divide(1, x, out=np.zeros(x.shape, np.float32), where=np.isfinite(x) & (x > 0), casting="unsafe")


def _device(config: MultiviewConfig) -> str:
    import torch

    if config.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return config.device
