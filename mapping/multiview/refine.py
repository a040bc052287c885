"""From the cheapest plane to a continuous depth with a confidence. PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mapping.multiview.cost import Warp, box_mean, matching_costs, mean_of_best

STEPS = 7  # hypotheses around the coarse depth, half a plane apart
STAY = 0.01  # cost of differing from the coarse depth by a plane; decides where there is no texture
WINDOW = 2  # half width in pixels of the window of the fine sweep, and of the sum of its costs
AROUND = 2  # planes to both sides of the cheapest that count as the same minimum
GREY_SCALE = 0.05  # step of grey, white being 1, at which a neighbouring pixel weighs 1/e in smoothing
SURFACE = 0.5  # planes by which a neighbouring pixel may deviate from the slope and lie on the same surface
LOST = 0.5  # matching cost at which the confidence is 0


def cheapest(cost: Tensor) -> tuple[Tensor, Tensor]:
    """The continuous index [B, H, W] of the least of costs [B, D, H, W], and its distinctness in [0, 1].

    The index is the vertex of the parabola through the least cost and its two neighbours. Distinctness is the distance to
    the least cost outside its vicinity, as a share of the typical cost.
    """
    planes = cost.shape[1]
    least, best = cost.min(dim=1, keepdim=True)
    inner = best.clamp(1, planes - 2)
    before, here, after = (cost.gather(1, inner + i) for i in (-1, 0, 1))
    bend = before - 2 * here + after
    shift = torch.where(bend > 1e-6, 0.5 * (before - after) / bend.clamp(min=1e-6), 0.0).clamp(-0.5, 0.5)
    index = torch.where(inner == best, best + shift, best.to(cost))
    numbers = torch.arange(planes, device=cost.device)[:, None, None]
    other = torch.where((numbers - best).abs() > AROUND, cost, 1e3).amin(dim=1, keepdim=True)
    typical = cost.mean(dim=1, keepdim=True)
    distinct = (other - least) / (typical - least).clamp(min=1e-3)
    return index[:, 0], distinct[:, 0].clamp(0, 1)


def refine(
    reference: Tensor,
    neighbours: Tensor,
    present: Tensor,
    warp: Warp,
    coarse: Tensor,
    plane_step: float,
    share: float,
) -> tuple[Tensor, Tensor]:
    """Inverse depth [B, H, W] near a coarse one, and its matching cost [B, H, W].

    Grey images as for `matching_costs`; present [B, N], which neighbours there are.

    Hypotheses are offsets from the coarse depth, so that the windows lie on the surface however it slopes.
    """
    offsets = torch.arange(STEPS, device=coarse.device) - STEPS // 2
    offsets = (0.5 * plane_step * offsets)[:, None, None]
    inverse = (coarse[:, None] + offsets).clamp(min=1e-3)
    costs, measured = matching_costs(reference, neighbours, warp, inverse, (WINDOW,))
    measured &= present[:, :, None, None, None]
    cost = box_mean(mean_of_best(costs, measured, share), WINDOW)
    index, _ = cheapest(cost + STAY * (offsets / plane_step) ** 2)
    found = coarse + 0.5 * plane_step * (index - STEPS // 2)
    nearest = index.round().long().clamp(0, STEPS - 1)[:, None]
    return found.clamp(min=1e-3), cost.gather(1, nearest)[:, 0]


def smooth(
    inverse: Tensor, slope: Tensor | None, weight: Tensor, image: Tensor, plane_step: float, rounds: int
) -> Tensor:
    """Inverse depth [B, H, W] averaged over neighbouring pixels that continue the same surface.

    Inverse depth is linear on a plane, so the mean over opposite sides, or along given slopes [B, 2, H, W] per pixel
    (d/du, d/dv; nan where not known), leaves planes as they are. weight [B, H, W] is the confidence of a pixel,
    image [B, H, W] its grey: smoothing stops at image edges and where the depth leaves the surface.
    """
    for turn in range(rounds):
        reach = 1 << min(turn, 2)
        total, summed = inverse * (weight + 1e-3), weight + 1e-3
        for du, dv in ((reach, 0), (0, reach), (reach, reach), (reach, -reach)):
            ahead, back = ([_shifted(x, du * sign, dv * sign) for x in (inverse, weight, image)] for sign in (1, -1))
            tilt = 0.5 * (ahead[0] - back[0])
            if slope is not None:
                along = slope[:, 0] * du + slope[:, 1] * dv
                tilt = torch.where(along.isnan(), tilt, along)
            for side, sign in ((ahead, -1), (back, 1)):
                there, w, grey = side
                guess = there + sign * tilt
                off = (guess - inverse) / (SURFACE * plane_step)
                share = w * torch.exp(-((grey - image).abs() / GREY_SCALE)) / (1 + off * off)
                total = total + share * guess
                summed = summed + share
        inverse = total / summed
    return inverse


def slopes_from_normals(inverse: Tensor, normals: Tensor, rays: Tensor, focal: Tensor) -> Tensor:
    """d/du and d/dv [B, 2, H, W] of inverse depth on planes of normals [B, 3, H, W] through the pixels.

    On a plane n . X = c the inverse depth is (n . ray) / c, with rays [B, 3, H, W] of z = 1; focal [B, 2] in pixels. Where
    normals are unknown (zero) or grazing, the slope is nan.
    """
    towards = (normals * rays).sum(dim=1, keepdim=True)
    steep = towards > -0.1
    factor = inverse[:, None] / torch.where(steep, -1.0, towards)
    return torch.where(steep, torch.nan, factor * normals[:, :2] / focal[:, :, None, None])


def confidence_of(match: Tensor, distinct: Tensor, reach: Tensor) -> Tensor:
    """Confidence of a depth in [0, 1] from its matching cost, its distinctness, and the share of planes that were compared."""
    quality = (1 - match / LOST).clamp(0, 1)
    return (quality.sqrt() * distinct * reach).clamp(0, 1)


def resize(x: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """[B, H, W] at another size (H, W)."""
    align = {"align_corners": False} if mode == "bilinear" else {}
    return F.interpolate(x[:, None], size, mode=mode, **align)[:, 0]


def enlarge(inverse: Tensor, size: tuple[int, int], plane_step: float) -> Tensor:
    """Inverse depth [B, H, W] at a larger size, interpolated only where the result is within a plane of the nearest pixel."""
    linear, nearest = resize(inverse, size), resize(inverse, size, "nearest")
    return torch.where((linear - nearest).abs() <= plane_step, linear, nearest)


def _shifted(x: Tensor, du: int, dv: int) -> Tensor:
    """x [B, H, W] so that element (v, u) is that of (v + dv, u + du), the border repeated."""
    height, width = x.shape[-2:]
    padded = F.pad(x[:, None], (max(-du, 0), max(du, 0), max(-dv, 0), max(dv, 0)), mode="replicate")[:, 0]
    return padded[:, max(dv, 0) :, max(du, 0) :][:, :height, :width]
