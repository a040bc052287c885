"""Consistency of the depth of several frames: agreement of depth maps at their poses, and isolated patches. PyTorch, OpenCV."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mapping.multiview.cost import Warp, sample

ENOUGH = 5  # agreeing neighbours beyond which more do not raise the confidence
DOUBT = 0.5  # contradicting neighbours that are assumed in addition to the actual ones
FAR_POWER = 3  # confidence falls with this power of depth beyond the typical one


@dataclass(frozen=True, eq=False)
class Agreement:
    """A depth map compared with its neighbours: the mean inverse depth [B, H, W] of the frame and the agreeing neighbours, the
    number [B, H, W] of agreeing ones, and of contradicting ones, which see through the surface."""

    inverse: Tensor
    agreeing: Tensor
    contradicting: Tensor


def agreement(
    inverse: Tensor, confidence: Tensor, others: Tensor, other_confidence: Tensor, warp: Warp, tolerance: float
) -> Agreement:
    """Compare inverse depth [B, H, W] with that of neighbours [B, N, H, W], 0 unknown, each with its confidence.

    A pixel is projected into the neighbour by its own depth. Where the depth there is the same up to the share `tolerance`,
    the neighbour agrees; where it is nearer, the surface is hidden from the neighbour, which counts neither way; where it is
    farther, the neighbour sees through the surface and contradicts.
    """
    u, v = warp(inverse[:, None])
    depth_there = _depth_in_neighbour(warp, inverse)
    found, inside = sample(others, u, v, "nearest")
    weight, _ = sample(other_confidence, u, v, "nearest")
    ratio = (found[:, :, 0] * depth_there).clamp(min=0)  # of this depth to the neighbour's
    known = inside[:, :, 0] & (found[:, :, 0] > 0) & (inverse > 0)[:, None]
    agrees = known & ((ratio - 1).abs() <= tolerance)
    contradicts = known & (ratio < 1 - 2 * tolerance)
    # Moving along the reference's ray scales the depth in both cameras by nearly the same factor, as baselines are short.
    share = torch.where(agrees, weight[:, :, 0] + 1e-3, 0.0)
    own = confidence + 1e-3
    mean = inverse * (own + (share * ratio).sum(dim=1)) / (own + share.sum(dim=1))
    return Agreement(mean, agrees.sum(dim=1), contradicts.sum(dim=1))


def joint_confidence(confidence: Tensor, agreed: Agreement, min_agreeing: int, witnesses: int) -> Tensor:
    """Confidence [B, H, W] in [0, 1] given the agreement of `witnesses` neighbours; 0 where fewer than `min_agreeing` agree.

    It rises with the square of the share of the first few that agree: agreement of two of eight is mostly a coincidence.
    """
    agreeing, contradicting = agreed.agreeing.to(confidence), agreed.contradicting.to(confidence)
    share = agreeing / (agreeing + contradicting + DOUBT)
    enough = (agreeing / max(min(witnesses, ENOUGH), 1)).clamp(max=1)
    # Views that find the same point independently are better evidence than any matching cost.
    joint = share * enough * enough * (0.5 + 0.5 * confidence)
    return torch.where(agreed.agreeing >= min_agreeing, joint, 0.0)


def distance_confidence(inverse: NDArray[np.floating], typical: float | None) -> NDArray[np.float32]:
    """Factor (H, W) on the confidence of inverse depth (H, W): 1 up to the typical depth, falling beyond.

    The same error in the images moves a point by the square of its depth, and agreement over a short baseline at a
    distance is wrong more often. Relative to the typical depth, because poses may be in any unit; None gives 1 everywhere.
    """
    if typical is None:
        return np.ones(inverse.shape, np.float32)
    return (np.clip(inverse * typical, 0, 1) ** FAR_POWER).astype(np.float32)


def speckles(depth: NDArray[np.float32], pixels: int, jump: float) -> NDArray[np.bool_]:
    """Which pixels (H, W) belong to patches of fewer than `pixels` pixels.

    A patch ends where depth steps by more than the share `jump` and at unknown depth (0). Pixels connect along rows and columns.
    """
    known = depth > 0
    if pixels <= 1 or not known.any():
        return np.zeros(depth.shape, bool)
    # Steps of log depth are shares; OpenCV's filter floods over 16-bit disparities.
    levels = np.zeros(depth.shape, np.int16)
    scale = 2000.0
    levels[known] = np.clip(np.rint(np.log(depth[known]) * scale), -16000, 16000).astype(np.int16)
    unknown = np.int16(-32000)
    levels[~known] = unknown
    cv2.filterSpeckles(levels, int(unknown), pixels - 1, max(int(np.log1p(jump) * scale), 1))
    return np.asarray(known & (levels == unknown))


def _depth_in_neighbour(warp: Warp, inverse: Tensor) -> Tensor:
    """Depth along z [B, N, H, W] in the neighbours of the points at inverse depth [B, H, W]; the cameras' last rows are 0 0 1."""
    z = warp.slope[:, :, 2] + warp.offset[:, :, 2] * inverse[:, None]
    return z / inverse.clamp(min=1e-6)[:, None]
