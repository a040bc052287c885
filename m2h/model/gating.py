"""Gated merging of a task's features before attention, after attention, and of its unique features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m2h.model.blocks import mean, stretch, stretched_mean
from m2h.model.strips import LazyMap, by_strips, runs_whole


class GatedMerge(nn.Module):
    """Channel gates from the means of three maps weigh their sum, and a pointwise residual network follows.

    The gates see only means, and a 1x1 convolution of a mean is the mean of the 1x1 convolution: the three maps are never
    concatenated.
    """

    def __init__(self, channels: int, *, separable: bool) -> None:
        super().__init__()
        groups = 4 if separable else 1
        self.hidden = hidden = 3 * channels // 2 if separable else 4 * channels
        self.original = nn.Conv2d(channels, channels, 1, groups=groups, bias=False)
        self.attended = nn.Conv2d(channels, channels, 1, groups=groups, bias=False)
        self.unique = nn.Conv2d(channels, channels, 1, groups=groups, bias=False)
        gate: list[nn.Module] = [nn.Conv2d(3 * channels, 3 * channels, 1, bias=False)]
        if not separable:
            gate = [
                nn.Conv2d(3 * channels, channels, 1, bias=False),
                nn.ReLU(),
                nn.Conv2d(channels, 3 * channels, 1, bias=False),
            ]
        self.gate = nn.Sequential(*gate)
        self.ffn = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )
        self.out = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, original: Tensor, attended: Tensor, unique: Tensor) -> Tensor:
        """Two maps [B, C, H, W] and a smaller unique map [B, C, h, w] to [B, C, H, W]."""
        size = (original.shape[2], original.shape[3])
        means = [
            self.original(mean(original)),
            self.attended(mean(attended)),
            self.unique(stretched_mean(unique, size)),
        ]
        gates = torch.sigmoid(self.gate(torch.cat(means, dim=1))).chunk(3, dim=1)
        third = stretch(self.unique(unique) * gates[2], size)

        def merged(start: int, stop: int) -> Tensor:
            rows = torch.addcmul(third[:, :, start:stop], self.original(original[:, :, start:stop]), gates[0])
            return torch.addcmul(rows, self.attended(attended[:, :, start:stop]), gates[1])

        (result,) = by_strips(
            LazyMap((*third.shape[:2], *size), merged, runs_whole(third)),
            lambda rows: (self.out(rows + self.ffn(rows)),),
            halo=0,
            channels=self.hidden,
        )
        return result
