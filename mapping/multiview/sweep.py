"""Plane sweep with known poses, coarse to fine (Collins, CVPR 1996; Gallup et al., CVPR 2007). PyTorch, batched."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mapping.multiview.cost import Warp, make_warp, matching_costs, mean_of_best
from mapping.multiview.multiview_config import MultiviewConfig
from mapping.multiview.paths import aggregate
from mapping.multiview.refine import cheapest, confidence_of, enlarge, refine, resize, slopes_from_normals, smooth

CHUNK = {"cpu": 1 << 18, "cuda": 1 << 26}  # hypotheses compared at once: limited by the cache, by the memory


@dataclass(frozen=True, eq=False)
class SweepInput:
    """B references and N neighbours of each, at one size.

    reference [B, H, W] and neighbours [B, N, H, W] grey in 0..1, H and W even; present [B, N] bool, which neighbours there are;
    K_reference [B, 3, 3], K_neighbours [B, N, 3, 3]; T_neighbour_reference [B, N, 4, 4]; prior_inverse [B, H, W] inverse
    depth, 0 unknown; prior_normals [B, 3, H, W] in the reference camera, 0 unknown.
    """

    reference: Tensor
    neighbours: Tensor
    present: Tensor
    K_reference: Tensor
    K_neighbours: Tensor
    T_neighbour_reference: Tensor
    prior_inverse: Tensor | None = None
    prior_normals: Tensor | None = None


@torch.no_grad()
def sweep(views: SweepInput, config: MultiviewConfig) -> tuple[Tensor, Tensor]:
    """Inverse depth [B, H, W] at every pixel and its confidence [B, H, W] in [0, 1].

    The settings must contain a depth range. All planes are compared at half the size, the costs are aggregated along image
    paths, and the depth found is refined at full size around itself and smoothed along surfaces.
    """
    assert config.min_depth is not None
    assert config.max_depth is not None
    planes = torch.linspace(1 / config.max_depth, 1 / config.min_depth, config.planes, device=views.reference.device)
    plane_step = float(planes[1] - planes[0])
    size = (views.reference.shape[1], views.reference.shape[2])
    small, present = _halved(views), views.present
    cost = _plane_costs(small, planes, config)
    reach = (cost[1] * (present.sum(dim=1) > 0)[:, None, None]).to(planes)
    summed = cost[0] if small.prior_inverse is None else cost[0] + _prior_cost(small.prior_inverse, planes, config)
    summed = aggregate(summed, small.reference, config.small_step, config.jump, config.edge_contrast)
    index, distinct = cheapest(summed)
    coarse = enlarge(planes[0] + plane_step * index, size, plane_step)
    fine = refine(views.reference, views.neighbours, present, _warp(views), coarse, plane_step, config.best_share)
    confidence = confidence_of(fine[1], resize(distinct, size), resize(reach, size))
    slope = None
    if views.prior_normals is not None:
        slope = slopes_from_normals(fine[0], views.prior_normals, _rays(views.K_reference, size), _focal(views))
    inverse = smooth(fine[0], slope, confidence, views.reference, plane_step, config.smoothing)
    return inverse.clamp(float(planes[0]) - plane_step, float(planes[-1]) + plane_step), confidence


def _plane_costs(views: SweepInput, planes: Tensor, config: MultiviewConfig) -> tuple[Tensor, Tensor]:
    """The matching cost [B, D, H, W] of every plane and the share [B, H, W] of planes that project into some neighbour."""
    batch, count = views.neighbours.shape[:2]
    height, width = views.neighbours.shape[2:]
    together = max(1, CHUNK[planes.device.type] // (batch * count * height * width))
    warp = _warp(views)
    cost = torch.zeros(batch, len(planes), height, width, device=planes.device)
    reach = torch.zeros(batch, height, width, device=planes.device)
    for start in range(0, len(planes), together):
        inverse = planes[None, start : start + together, None, None].expand(batch, -1, 1, 1)
        costs, measured = matching_costs(views.reference, views.neighbours, warp, inverse, config.radii_px)
        measured &= views.present[:, :, None, None, None]
        cost[:, start : start + together] = mean_of_best(costs, measured, config.best_share)
        reach += measured.any(dim=1).sum(dim=1)
    return cost, reach / len(planes)


def _prior_cost(prior: Tensor, planes: Tensor, config: MultiviewConfig) -> Tensor:
    """The cost [B, D, H, W] of differing from a prior inverse depth, constant far from it; 0 where the prior is unknown."""
    known = (prior > 0)[:, None]
    error = (planes[None, :, None, None] / torch.where(known, prior[:, None], 1.0) - 1) / config.prior_deviation
    return torch.where(known, config.prior_strength * (1 - torch.exp(-0.5 * error * error)), 0.0)


def _halved(views: SweepInput) -> SweepInput:
    """The same views at half the size."""
    size = (views.reference.shape[1] // 2, views.reference.shape[2] // 2)
    stretch = torch.tensor([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]]).to(views.K_reference)
    batch, count = views.neighbours.shape[:2]
    prior = views.prior_inverse
    return SweepInput(
        F.avg_pool2d(views.reference, 2),
        F.avg_pool2d(views.neighbours.flatten(0, 1), 2).reshape(batch, count, *size),
        views.present,
        stretch @ views.K_reference,
        stretch @ views.K_neighbours,
        views.T_neighbour_reference,
        None if prior is None else resize(prior, size, "nearest"),
    )


def _warp(views: SweepInput) -> Warp:
    size = (views.reference.shape[1], views.reference.shape[2])
    return make_warp(views.K_reference, views.K_neighbours, views.T_neighbour_reference, size)


def _rays(K: Tensor, size: tuple[int, int]) -> Tensor:
    """Directions [B, 3, H, W] of z = 1 through the pixels of cameras [B, 3, 3]."""
    v, u = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)]).reshape(3, -1).to(K)
    return (torch.linalg.inv(K) @ pixels).reshape(len(K), 3, *size)


def _focal(views: SweepInput) -> Tensor:
    return torch.stack([views.K_reference[:, 0, 0], views.K_reference[:, 1, 1]], dim=1)
