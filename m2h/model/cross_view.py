"""Matching neighbouring frames: features, a cost volume over planes of depth, and its merging with the image's own features.

The idea is that of plane-sweep networks (Collins 1996; Wang and Shen, MVDepthNet, 3DV 2018) in the plain form of SimpleRecon
(Sayed et al., ECCV 2022): dot products of features, warped over planes of depth, averaged over the neighbours that see
the point. A depth hint, rendered from an earlier map, enters together with the volume (DoubleTake, Sayed et al., ECCV 2024).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2h.config import CrossViewConfig
from m2h.model.blocks import ConvNorm, make_conv, resize
from m2h.model.plane_filter import VOLUME_SUMMARY, plane_depths
from m2h.model.strips import runs_whole

MATCHING_STRIDE = 4
"""Pixels of the image in one pixel of the matching features and the cost volume."""
NEAREST = 1e-3
"""Depth in a neighbour's camera below which a point counts as behind it."""


class Neighbours(NamedTuple):
    """What the network is given of N neighbouring frames of each of B images.

    views: their matching features [B, N, C, h, w] as `M2H.match` gives them, or their normalised images [B, N, 3, H, W], from
    which it makes them. projections: [B, N, 3, 4] from `(u d, v d, d, 1)`, d being the canonical depth of the reference pixel
    (u, v), to homogeneous pixels of the neighbour; pixels are those of the network's inputs. valid: [B, N], False for a
    neighbour that is only there to fill the batch.
    """

    views: Tensor
    projections: Tensor
    valid: Tensor


class MatchingFeatures(nn.Module):
    """Unit feature vectors at a quarter of the image from the backbone's maps at 1/4 and 1/8."""

    def __init__(self, quarter: int, eighth: int, channels: int) -> None:
        super().__init__()
        width = 3 * channels
        self.quarter = nn.Conv2d(quarter, width, 1)
        self.eighth = nn.Conv2d(eighth, width, 1)
        self.merge = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Conv2d(width, channels, 1)

    def forward(self, quarter: Tensor, eighth: Tensor) -> Tensor:
        """Maps [B, C4, h, w] and [B, C8, h/2, w/2] to [B, C, h, w]."""
        x = F.relu(self.quarter(quarter) + resize(self.eighth(eighth), quarter.shape[-2:]))
        # What all pixels of an image have in common would make every cosine large and none informative.
        return F.normalize(F.instance_norm(self.out(F.relu(self.merge(x)))), dim=1)


class CostVolume(nn.Module):
    """Mean cosine of a pixel's feature with those that the neighbours have where the pixel's point would lie, plane by plane."""

    inverse_depths: Tensor

    def __init__(self, config: CrossViewConfig) -> None:
        super().__init__()
        self.register_buffer("inverse_depths", (1 / plane_depths(config)).view(1, -1, 1), persistent=False)

    def forward(self, features: Tensor, neighbours: Neighbours) -> tuple[Tensor, Tensor]:
        """Features [B, C, h, w] of the image to the volume [B, D, h, w], nearest plane first, and the share of the neighbours
        that see each of its points, of the same shape. Both are 0 where nothing is seen."""
        return matching_volume(features, neighbours, self.inverse_depths, MATCHING_STRIDE)


def matching_volume(
    features: Tensor, neighbours: Neighbours, inverse_depths: Tensor, stride: int
) -> tuple[Tensor, Tensor]:
    """The mean cosine of features [B, C, h, w] with those of the neighbours, of any size, at D depths of each pixel, and the
    share of the neighbours that see those points: both [B, D, h, w], 0 where nothing is seen.

    `inverse_depths` [B, D, hw] are canonical; those that all images or all pixels share have 1 there. `stride` is the number of
    the image's pixels in one of `features`.
    """
    batch, count, channels = neighbours.views.shape[:3]
    height, width = features.shape[-2:]
    planes = inverse_depths.shape[1]
    valid = neighbours.valid.sum(dim=1).clamp_min(1).view(batch, 1, 1, 1)
    if not runs_whole(features):
        sums, seen = _compiled(features, neighbours, inverse_depths, stride)
        return sums / seen.clamp_min(1), seen / valid
    grid, inside = sampling(neighbours, inverse_depths, (height, width), stride)
    inside = inside & neighbours.valid[:, :, None, None]
    sampled = F.grid_sample(
        neighbours.views.flatten(0, 1),
        grid.view(batch * count, 2, planes * height, width).permute(0, 2, 3, 1),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    ).view(batch, count, channels, planes, height * width)
    cosines = (sampled * features.reshape(batch, 1, channels, 1, height * width)).sum(dim=2)
    counted = inside.to(cosines.dtype)
    seen = counted.sum(dim=1).view(batch, planes, height, width)
    sums = (cosines * counted).sum(dim=1).view(batch, planes, height, width)
    return sums / seen.clamp_min(1), seen / valid


def _compiled(features: Tensor, neighbours: Neighbours, inverse_depths: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """The sums of the products over the neighbours that see a point, and their number, [B, D, h, w] each, by compiled code."""
    from m2h.model.matching_kernel import volume_on_cpu

    # Pixels of maps lie at the centres of the image's pixels that they stand for: (k + 0.5) * stride - 0.5.
    theirs = features.shape[-1] * stride / neighbours.views.shape[-1]
    from_map, to_map = torch.eye(4), torch.eye(3) / theirs
    from_map[:2, :2] *= stride
    from_map[:2, 2] = 0.5 * stride - 0.5
    to_map[:2, 2], to_map[2, 2] = 0.5 / theirs - 0.5, 1
    to_pixels = product(product(to_map, neighbours.projections.float()), from_map)
    inverse = inverse_depths.expand(len(features), -1, -1)
    found = []
    for i, own in enumerate(features):
        valid = neighbours.valid[i]
        found.append(volume_on_cpu(own, neighbours.views[i][valid], to_pixels[i][valid], inverse[i], NEAREST))
    return torch.stack([sums for sums, _ in found]), torch.stack([seen for _, seen in found])


def sampling(
    neighbours: Neighbours, inverse_depths: Tensor, size: tuple[int, int], stride: int
) -> tuple[Tensor, Tensor]:
    """Where to sample each neighbour, [B, N, 2, D, hw] in grid_sample's units, and whether that lies in it [B, N, D, hw].

    The two coordinates are maps of their own: exported, pairs of neighbouring numbers cost the runtimes more than the one
    transposition that grid_sample needs.
    """
    height, width = size
    # Pixel u of the image lies at (u + 0.5) / W of its width; grid_sample counts from -1 to 1.
    right, down = 1 / (width * stride), 1 / (height * stride)
    to_grid = neighbours.projections.new_tensor([[2 * right, 0, right - 1], [0, 2 * down, down - 1], [0, 0, 1]])
    projections = product(to_grid, neighbours.projections)
    u = _pixel_centres(width, stride, projections).expand(height, width)
    v = _pixel_centres(height, stride, projections)[:, None].expand(height, width)
    pixels = torch.stack([u, v, torch.ones_like(u)]).reshape(3, -1)
    # Homogeneous positions in the neighbour, divided by depth: A p + b / d.
    directions = product(projections[..., :3], pixels).unsqueeze(3)  # [B, N, 3, 1, hw]
    inverse = inverse_depths.to(projections.dtype)[:, None, None]
    offsets = projections[..., 3:].unsqueeze(-1) * inverse  # [B, N, 3, D, hw or 1]
    z = directions[:, :, 2:] + offsets[:, :, 2:]
    grid = (directions[:, :, :2] + offsets[:, :, :2]) / z.clamp_min(NEAREST)
    x, y = grid.abs().unbind(dim=2)
    return grid, (z.squeeze(2) > NEAREST) & (torch.maximum(x, y) <= 1)


class ViewPyramid(nn.Module):
    """The image's maps at 1/4 to 1/32 merged with cost volume and hint into the decoder's pyramid."""

    def __init__(self, image_channels: list[int], config: CrossViewConfig, channels: int, *, separable: bool) -> None:
        super().__init__()
        widths = config.widths
        own = [image_channels[0] + config.planes + VOLUME_SUMMARY + 3, *image_channels[1:]]
        self.down = nn.ModuleList(
            [ConvNorm(nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False), b) for a, b in itertools.pairwise(widths)]
        )
        before = [0, *widths[1:]]
        self.merge = nn.ModuleList(
            [
                nn.Sequential(
                    ConvNorm(nn.Conv2d(a + b, width, 3, padding=1, bias=False), width),
                    ConvNorm(nn.Conv2d(width, width, 3, padding=1, bias=False), width),
                )
                for a, b, width in zip(own, before, widths, strict=True)
            ]
        )
        self.reduce = nn.ModuleList(
            [make_conv(width, channels, 3, bias=False, separable=separable) for width in widths]
        )

    def forward(self, maps: list[Tensor], volume: Tensor, seen: Tensor, hint: Tensor) -> tuple[list[Tensor], Tensor]:
        """Image maps at 1/4 to 1/32, volume and its summary [B, D + VOLUME_SUMMARY, h, w], seen [B, 1, h, w] and hint
        [B, 2, h, w] at 1/4, to four maps of the decoder's width, shallow to deep, and the deepest one before it is narrowed."""
        x = self.merge[0](torch.cat([maps[0], volume, seen, hint], dim=1))
        levels = [self.reduce[0](x)]
        for level, down in enumerate(self.down, start=1):
            x = self.merge[level](torch.cat([maps[level], down(x)], dim=1))
            levels.append(self.reduce[level](x))
        return levels, x


def product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product [..., i, k] of [..., i, j] and [..., j, k], in their own precision: autocast would round a `@` to
    bfloat16, and with it positions to whole pixels."""
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(dim=-2)


def _pixel_centres(count: int, stride: int, like: Tensor) -> Tensor:
    """Positions in pixels of the image of the centres of `count` pixels of features that hold `stride` of them each."""
    return (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) * stride - 0.5
