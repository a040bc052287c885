"""Matching cost of depth hypotheses: neighbours are warped into the reference frame and compared in windows. PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NEUTRAL = 0.5  # the cost where nothing can be compared: that of uncorrelated windows
MIN_VARIANCE = 2e-4  # variance of grey (white is 1) below which a window is noise, not texture


@dataclass(frozen=True, eq=False)
class Warp:
    """Where the pixels of a reference project in its neighbours, as a function of inverse depth w.

    With `slope` [B, N, 3, H, W] and `offset` [B, N, 3, 1, 1] the homogeneous pixel is `slope + offset * w`.
    """

    slope: Tensor
    offset: Tensor

    def __call__(self, inverse: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels [B, N, D, H, W] u and v of inverse depths [B, D, H, W] or [B, D, 1, 1]; far outside behind the camera."""
        w = inverse[:, None]
        x, y, z = (self.slope[:, :, i, None] + self.offset[:, :, i, None] * w for i in range(3))
        scale = 1 / z.clamp(min=1e-6)
        return torch.where(z > 1e-6, x * scale, -1e6), y * scale


def make_warp(K_reference: Tensor, K_neighbours: Tensor, T_neighbour_reference: Tensor, size: tuple[int, int]) -> Warp:
    """The warp of [B, 3, 3] cameras into [B, N, 3, 3] ones at poses [B, N, 4, 4], images of size (H, W)."""
    height, width = size
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)]).reshape(3, -1).to(K_reference)
    turn = K_neighbours @ T_neighbour_reference[..., :3, :3] @ torch.linalg.inv(K_reference)[:, None]
    slope = (turn @ pixels).reshape(*turn.shape[:2], 3, height, width)
    offset = K_neighbours @ T_neighbour_reference[..., :3, 3:]
    return Warp(slope, offset[..., None])


def sample(images: Tensor, u: Tensor, v: Tensor, mode: str = "bilinear") -> tuple[Tensor, Tensor]:
    """Images [B, N, H, W] at pixels [B, N, D, h, w], and which of these lie inside."""
    batch, count = images.shape[:2]
    height, width = images.shape[2:]
    grid = torch.stack([u * (2 / (width - 1)) - 1, v * (2 / (height - 1)) - 1], dim=-1)
    flat = grid.reshape(batch * count, -1, u.shape[-1], 2)
    values = F.grid_sample(
        images.reshape(batch * count, 1, height, width), flat, mode=mode, padding_mode="border", align_corners=True
    )
    inside = (grid.abs() <= 1).all(dim=-1)
    return values.reshape(u.shape), inside


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Means [..., H, W] over squares of 2 * radius + 1 pixels, the border repeated."""
    side = 2 * radius + 1
    height, width = x.shape[-2:]
    padded = F.pad(x.reshape(-1, 1, height, width), (radius,) * 4, mode="replicate")
    rows = padded[..., :width].clone()
    for i in range(1, side):
        rows += padded[..., i : i + width]
    total = rows[..., :height, :].clone()
    for i in range(1, side):
        total += rows[..., i : i + height, :]
    return total.mul_(1 / side**2).reshape(x.shape)


def matching_costs(
    reference: Tensor, neighbours: Tensor, warp: Warp, inverse: Tensor, radii: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Costs [B, N, D, H, W] in [0, 1] of inverse depths [B, D, H, W] or [B, D, 1, 1], and where they are defined.

    reference [B, H, W] and neighbours [B, N, H, W] are grey. The cost is (1 - ZNCC) / 2, the mean over the window radii; a
    variance is added to both windows so that those without texture match nothing.
    """
    warped, inside = sample(neighbours, *warp(inverse))
    image = reference[:, None, None]
    squared, crossed = warped * warped, warped * image
    cost = torch.zeros_like(warped)
    for radius in radii:
        mean, image_mean = box_mean(warped, radius), box_mean(image, radius)
        variance = box_mean(squared, radius) - mean * mean
        image_variance = box_mean(image * image, radius) - image_mean * image_mean
        covariance = box_mean(crossed, radius) - mean * image_mean
        spread = (variance.clamp_(min=0) + MIN_VARIANCE) * (image_variance.clamp(min=0) + MIN_VARIANCE)
        cost += covariance * torch.rsqrt(spread)
    return (NEUTRAL - (0.5 / len(radii)) * cost).clamp_(0, 1), inside


def mean_of_best(costs: Tensor, measured: Tensor, share: float) -> Tensor:
    """The mean [B, D, H, W] of the lowest `share` of the costs [B, N, ...] that were measured; NEUTRAL without any.

    A surface that is hidden from one neighbour is visible in others, so it is enough that some of them agree
    (Kang, Szeliski and Chai, CVPR 2001).
    """
    count = costs.shape[1]
    ordered = [torch.where(measured[:, i], costs[:, i], 2.0) for i in range(count)]
    for turn in range(count if share < 1 else 0):  # an odd-even transposition network sorts them
        for i in range(turn % 2, count - 1, 2):
            low, high = torch.minimum(ordered[i], ordered[i + 1]), torch.maximum(ordered[i], ordered[i + 1])
            ordered[i], ordered[i + 1] = low, high
    seen = measured.sum(dim=1)
    wanted = torch.ceil(seen * share - 1e-4)
    total = torch.zeros_like(ordered[0])
    for i in range(count):
        # Sorted, measured costs come first; unsorted, all of them count and the unmeasured ones are marked by 2.
        total += torch.where((ordered[i] < 2.0) & (i < wanted if share < 1 else True), ordered[i], 0.0)
    return torch.where(seen > 0, total / wanted.clamp(min=1), NEUTRAL)
