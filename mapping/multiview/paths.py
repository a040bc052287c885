"""Cost aggregation along image paths: neighbouring pixels lie on neighbouring planes except at image edges. PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def aggregate(cost: Tensor, image: Tensor, small: float, jump: float, contrast: float) -> Tensor:
    """Costs [B, D, H, W] summed along eight paths of image [B, H, W], divided by eight.

    Semi-global matching (Hirschmueller, PAMI 2008, equation 13): `small` is the penalty of a step by one plane and `jump`
    that of any larger one, which halves where grey changes by `contrast` but never falls below `small`.
    """
    total = torch.zeros_like(cost)
    for axis in (2, 3):
        # The axis of the path comes first, so that a step reads contiguous memory.
        walked = cost.movedim(axis, 0).contiguous()
        grey = image.movedim(axis - 1, 0)
        for reverse in (False, True):
            shifts = (-1, 0, 1) if axis == 2 else (0,)
            summed = _walk(walked, grey, shifts, (small, jump, contrast), reverse=reverse)
            total += summed.movedim(0, axis)
    return total / 8


def _walk(
    cost: Tensor, image: Tensor, shifts: tuple[int, ...], penalties: tuple[float, float, float], *, reverse: bool
) -> Tensor:
    """Path costs [S, B, D, L] by line, summed over the paths that come from the previous line, `shifts` pixels to the side."""
    small, jump, contrast = penalties
    lines = range(len(cost) - 1, -1, -1) if reverse else range(len(cost))
    total = torch.zeros_like(cost)
    path: Tensor | None = None
    before = 0
    for line in lines:
        here = cost[line]
        if path is None:
            path = here.expand(len(shifts), *here.shape)
        else:
            step = torch.stack([(image[line] - _shift(image[before], s)).abs() for s in shifts])
            large = (jump / (1 + step / contrast)).clamp_(min=small)[:, :, None]
            back = path if shifts == (0,) else torch.stack([_shift(p, s) for p, s in zip(path, shifts, strict=True)])
            least = back.amin(dim=2, keepdim=True)
            padded = F.pad(back, (0, 0, 1, 1), value=1e3)
            best = torch.minimum(padded[:, :, :-2], padded[:, :, 2:]).add_(small)
            best = torch.minimum(torch.minimum(best, back), least + large)
            path = best.add_(here).sub_(least)
        total[line] = path.sum(dim=0)
        before = line
    return total


def _shift(x: Tensor, by: int) -> Tensor:
    """The last axis moved so that element i is that of i + by, the ends repeated."""
    if by == 0:
        return x
    if by > 0:
        return torch.cat([x[..., by:], x[..., -1:].expand(*x.shape[:-1], by)], dim=-1)
    return torch.cat([x[..., :1].expand(*x.shape[:-1], -by), x[..., :by]], dim=-1)
