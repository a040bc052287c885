"""What several frames find together: agreement of depth maps at their poses, and patches that stand alone. PyTorch, OpenCV."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mapping.multiview.cost import Warp, sample

ENOUGH = 5  # neighbours that agree, from which more add nothing
DOUBT = 0.5  # neighbours without an opinion that stand against those that agree
FAR_POWER = 3  # confidence falls with this power of depth beyond the typical one


@dataclass(frozen=True, eq=False)
class Agreement:
    """What neighbours say to a depth map: the mean inverse depth [B, H, W] of those that agree and the frame itself, the number
    [B, H, W] that agree, and of those that look through the surface."""

    inverse: Tensor
    agreeing: Tensor
    denying: Tensor


def agreement(
    inverse: Tensor, confidence: Tensor, others: Tensor, other_confidence: Tensor, warp: Warp, tolerance: float
) -> Agreement:
    """Compare inverse depth [B, H, W] with that of neighbours [B, N, H, W], 0 unknown, each with its confidence.

    A pixel is put into the neighbour with its own depth. Where the depth found there is the same up to the share `tolerance`,
    both mean the same surface; where it is nearer, the neighbour sees something in front and says nothing; where it is farther,
    the neighbour looks through what this frame claims.
    """
    u, v = warp(inverse[:, None])
    depth_there = _depth_in_neighbour(warp, inverse)
    found, inside = sample(others, u, v, "nearest")
    weight, _ = sample(other_confidence, u, v, "nearest")
    ratio = (found[:, :, 0] * depth_there).clamp(min=0)  # of this depth to the neighbour's
    known = inside[:, :, 0] & (found[:, :, 0] > 0) & (inverse > 0)[:, None]
    agrees = known & ((ratio - 1).abs() <= tolerance)
    denies = known & (ratio < 1 - 2 * tolerance)
    # Moving along the reference's ray scales the depth in both cameras by nearly the same factor, baselines being short.
    share = torch.where(agrees, weight[:, :, 0] + 1e-3, 0.0)
    own = confidence + 1e-3
    mean = inverse * (own + (share * ratio).sum(dim=1)) / (own + share.sum(dim=1))
    return Agreement(mean, agrees.sum(dim=1), denies.sum(dim=1))


def believed(confidence: Tensor, agreed: Agreement, min_agreeing: int, witnesses: int) -> Tensor:
    """Confidence [B, H, W] in [0, 1] after `witnesses` neighbours have spoken: that of the frame, raised to what agrees.

    It falls with the square of how many of the first few are missing: what two of eight saw is mostly a coincidence.
    """
    agreeing, denying = agreed.agreeing.to(confidence), agreed.denying.to(confidence)
    share = agreeing / (agreeing + denying + DOUBT)
    enough = (agreeing / max(min(witnesses, ENOUGH), 1)).clamp(max=1)
    # Views that find the same place by themselves are better proof than any matching cost.
    joint = share * enough * enough * (0.5 + 0.5 * confidence)
    return torch.where(agreed.agreeing >= min_agreeing, joint, 0.0)


def trust_in_near(inverse: NDArray[np.floating], typical: float | None) -> NDArray[np.float32]:
    """Share (H, W) of its confidence that inverse depth (H, W) keeps: all up to the typical depth, less and less beyond.

    The same error in the images moves a point by the square of its depth, and what is proved over a short baseline at a
    distance is wrong more often. Measured against the typical depth, because poses may be in any unit; None keeps all.
    """
    if typical is None:
        return np.ones(inverse.shape, np.float32)
    return (np.clip(inverse * typical, 0, 1) ** FAR_POWER).astype(np.float32)


def speckles(depth: NDArray[np.float32], pixels: int, jump: float) -> NDArray[np.bool_]:
    """Which pixels (H, W) belong to patches of less than `pixels` pixels.

    A patch ends where depth steps by more than the share `jump`. Unknown depth (0) is none. Connectivity is by rows and columns.
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
