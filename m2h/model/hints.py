"""Depth hints: what is known of a frame's depth without the network, as its inputs, and the gate that decides how far it is
trusted. A hint rendered from a map that was made before is the idea of DoubleTake (Sayed et al., ECCV 2024)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HINT_DEPTH = 2.0
"""Metres of depth at which the hint's logarithm is zero."""
NEAREST = 1e-3
"""Least depth whose logarithm is taken."""
GATE_WIDTH = 24
"""Channels between what the gate sees and what it says."""
HINT_STEP, HINT_STEPS = 0.1, 4.0
"""Difference of log depth between hint and planes that is 1 for the gate, and the largest that it sees."""


def log_of(depth: Tensor) -> Tensor:
    """The logarithm of depth, 0 where it is unknown (0)."""
    return torch.where(depth > 0, torch.log(depth.clamp_min(NEAREST)), torch.zeros_like(depth))


def small_hint(hint: Tensor | None, like: Tensor) -> Tensor:
    """The hint [B, 2, H, W] (canonical depth in metres, 0 unknown; confidence in [0, 1]) at the size of `like`, both 0 where
    either is; zeros without a hint."""
    if hint is None:
        return like.new_zeros(len(like), 2, *like.shape[-2:])
    # The nearest pixel: a mean over an edge would be a depth that is nowhere.
    small = F.interpolate(hint, like.shape[-2:], mode="nearest-exact")
    known = (small > 0).all(dim=1, keepdim=True)
    return torch.where(known, small, torch.zeros_like(small))


def hint_maps(hint: Tensor) -> Tensor:
    """A hint of `small_hint` as input of a convolution [B, 2, h, w]: log depth over HINT_DEPTH, 0 where unknown; confidence."""
    depth, confidence = hint.chunk(2, dim=1)
    return torch.cat([log_of(depth / HINT_DEPTH), confidence], dim=1)


class HintGate(nn.Module):
    """How far a hint is trusted, pixel by pixel, and what it changes in the depth around it.

    Planes blur what a hint knows to the pixel; a gate that chooses between both keeps it sharp, and learns from the image and
    from the disagreement where hints are wrong.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(channels + 3, GATE_WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(GATE_WIDTH, GATE_WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(GATE_WIDTH, 3, 1),
        )
        nn.init.zeros_(self.mix[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.mix[-1].bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, log_depth: Tensor, hint: Tensor) -> Tensor:
        """Features [B, C, H, W], log depth [B, 1, H, W] and hint [B, 2, H, W] to [B, 3, H, W]: what to add to log depth and to
        the logarithm of its error, and the logit of the hint's share."""
        depth, confidence = hint.chunk(2, dim=1)
        known = (depth > 0).to(depth.dtype)
        offset = known * (log_of(depth) - log_depth.detach()).div(HINT_STEP).clamp(-HINT_STEPS, HINT_STEPS)
        mixed: Tensor = self.mix(torch.cat([features, confidence, known, offset], dim=1))
        return mixed
