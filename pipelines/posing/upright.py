"""Which way is up in images of unknown up: the shipped network is asked how sure it is of what it sees in some of them, and in
these turned by quarters. On their side and upside down rooms are hard to recognise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.evenly import evenly
from mapping.packages import NETWORK_PACKAGES
from pipelines.frame import FrameSequence, SequenceError
from pipelines.turning import Array, turned_array, turned_pose, turns_to_upright

if TYPE_CHECKING:
    from m2h.infer import Predictor

PROBES = 12
"""Images, spread over the sequence, that are looked at."""
LOOKED_AT = 512
"""Longer side in pixels to which they are reduced."""
CLEARER, MOST = 0.2, 0.75
"""Nats by which images must be clearer when they are turned than as they are, by and large, and the share of them that must be
clearer at all: to turn upright images is worse than to leave others."""

Uncertainty = Callable[[NDArray[np.uint8]], float]
"""From an image (H, W, 3) to the mean entropy in nats of what its pixels may be."""


def shipped_uncertainty() -> Uncertainty | None:
    """How unsure the shipped network, which is loaded when it is first asked, is of what an image shows; None where what runs
    networks is not installed."""
    if not all(find_spec(package) for package in NETWORK_PACKAGES):
        return None

    @cache
    def predictor() -> Predictor:
        from m2h.infer import InferenceConfig, Predictor
        from m2h.weights import DEFAULT_NAME

        return Predictor.from_checkpoint(DEFAULT_NAME, InferenceConfig(tasks=("semantics",)))

    def uncertainty(rgb: NDArray[np.uint8]) -> float:
        share = min(1.0, LOOKED_AT / max(rgb.shape[:2]))
        small = cv2.resize(rgb, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        logs = predictor().label_logs(np.asarray(small, dtype=np.uint8))
        return float(-(np.exp(logs) * logs).sum(axis=0).mean())

    return uncertainty


def recognised_up(sequence: FrameSequence, positions: list[int], uncertainty: Uncertainty) -> Array | None:
    """About the up direction (3,) in the world of a sequence, in which more is recognised in its images than as they are stored.

    None where they are best as they are, by and large. `positions` are those of usable frames.
    """
    poses: list[Array] = []
    entropies: list[list[float]] = []
    for position in evenly(positions, PROBES):
        try:
            frame = sequence[position]
        except SequenceError:
            continue
        poses.append(frame.T_world_camera)
        entropies.append([uncertainty(turned_array(frame.rgb, turns)) for turns in range(4)])
    return None if not poses else _clearest_up(np.stack(poses), np.array(entropies))


def recognised_turns(images: Iterable[NDArray[np.uint8]], uncertainty: Uncertainty) -> int:
    """By how many quarter turns counter-clockwise more is recognised in images (H, W, 3) of one recording than as they are; 0
    where they are best as they are."""
    entropies = np.array([[uncertainty(turned_array(rgb, turns)) for turns in range(4)] for rgb in images])
    if not len(entropies):
        return 0
    best = int(entropies.mean(axis=0).argmin())
    return best if _is_clearer(entropies[:, best], entropies[:, 0]) else 0


def _is_clearer(turned: Array, stored: Array) -> bool:
    """Whether entropies (M,) of turned images are enough below those of the same images as they are stored."""
    return bool((stored - turned).mean() > CLEARER and (turned < stored).mean() >= MOST)


def _clearest_up(poses: Array, entropies: Array) -> Array | None:
    """The up direction (3,) that turns images of cameras (M, 4, 4) to the least mean of entropies (M, 4) by quarter turns; None
    where it turns hardly any, or to nothing clearer."""
    rows = np.arange(len(poses))
    ups = [-turned_pose(T, turns)[:3, 1] for T in poses for turns in range(4)]
    choices = [turns_to_upright(poses, up) for up in ups]
    best = min(choices, key=lambda turns: float(entropies[rows, turns].mean()))
    turned = best > 0
    if 4 * turned.sum() < len(poses) or not _is_clearer(entropies[rows, best][turned], entropies[turned, 0]):
        return None
    mean = sum((-turned_pose(T, int(k))[:3, 1] for T, k in zip(poses, best, strict=True)), np.zeros(3))
    length = float(np.linalg.norm(mean))
    return mean / length if length > 1e-6 else None
