"""Planes of depth, and the filter that turns a cost volume over them into their logits.

A cost volume is blurred along lines of sight and noisy where images repeat or are blank. A small hourglass of convolutions over
depth and space, the same for all planes, makes it agree with its surroundings (the regularisation of MVSNet, Yao et al., ECCV
2018); what a hint knows enters as evidence for its plane, and the image says where matching can be relied on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2h.config import CrossViewConfig
from m2h.model.blocks import resize
from m2h.model.hints import HINT_DEPTH, log_of

INITIAL_SHARPNESS = 10.0
"""Logit of a plane per unit of its mean cosine at first; cosines of points that match are about 0.5 above the others'."""
WIDTHS = (8, 16, 24)
"""Channels of the filter's three levels, each half as fine as the one before."""
EVIDENCE = 3
"""Maps that the filter is given of each plane: mean cosine, share of the neighbours that see it, hint."""
VOLUME_SUMMARY = 3
"""Maps that sum up the logits of the planes: mean and deviation of log depth, probability of the likeliest plane."""


def plane_depths(config: CrossViewConfig) -> Tensor:
    """Canonical depths [D] of the planes in metres, nearest first: a constant ratio between each and the next."""
    steps = torch.linspace(0, 1, config.planes, dtype=torch.float64)
    return (config.near * (config.far / config.near) ** steps).float()


def spacing(config: CrossViewConfig) -> float:
    """Difference of log depth from plane to plane."""
    return math.log(config.far / config.near) / (config.planes - 1)


class PlaneConv(nn.Module):
    """A 3x3x3 convolution over planes and space, as convolutions of the images of three planes side by side: those are what
    runtimes are fast at."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(3 * before, after, 3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, C, h, w] to [B, D / stride, C', h / stride, w / stride]."""
        batch, planes = x.shape[:2]
        padded = F.pad(x, (0, 0, 0, 0, 0, 0, 1, 1))
        triples = torch.cat([padded[:, k : k + planes : self.stride] for k in range(3)], dim=2)
        return torch.unflatten(self.conv(triples.flatten(0, 1)), 0, (batch, planes // self.stride))


class PlaneFilter(nn.Module):
    """Logits of the planes from the cost volume, what sees it, a hint and the image's features at 1/8."""

    log_depths: Tensor

    def __init__(self, config: CrossViewConfig, image_channels: int) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.register_buffer("log_depths", torch.log(plane_depths(config)).view(1, -1, 1, 1), persistent=False)
        self.spacing = spacing(config)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(INITIAL_SHARPNESS)))
        self.first = PlaneConv(EVIDENCE, fine)
        self.image = nn.Conv2d(image_channels, middle, 1)
        self.down = nn.ModuleList([PlaneConv(fine, middle, 2), PlaneConv(middle, coarse, 2)])
        self.middle = PlaneConv(middle, middle)
        self.coarse = PlaneConv(coarse, coarse)
        self.up = nn.ModuleList([nn.Conv2d(coarse, middle, 1), nn.Conv2d(middle, fine, 1)])
        self.after = PlaneConv(middle, middle)
        self.out = nn.Conv2d(fine, 1, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, volume: Tensor, seen: Tensor, hinted: Tensor, eighth: Tensor) -> Tensor:
        """Mean cosines, shares and `hinted_planes` [B, D, h, w], and the image's map [B, C, h/2, w/2], to logits [B, D, h, w]."""
        evidence = torch.stack([volume, seen, hinted], dim=2)
        fine = F.relu(self.first(evidence))
        middle = F.relu(self.down[0](fine) + self.image(eighth).unsqueeze(1))
        middle = F.relu(self.middle(middle))
        coarse = F.relu(self.coarse(F.relu(self.down[1](middle))))
        middle = F.relu(self.after(F.relu(middle + _finer(self.up[0], coarse))))
        fine = F.relu(fine + _finer(self.up[1], middle))
        filtered = self.out(fine.flatten(0, 1)).view_as(volume)
        return torch.exp(self.log_sharpness) * volume + filtered

    def hinted_planes(self, hint: Tensor) -> Tensor:
        """The confidence of a hint [B, 2, h, w] of canonical depth (0 unknown) and confidence at its plane, as a Gaussian one
        plane wide: [B, D, h, w]."""
        depth, confidence = hint.chunk(2, dim=1)
        return confidence * torch.exp(-0.5 * ((self.log_depths - log_of(depth)) / self.spacing).square())

    def summary(self, logits: Tensor) -> Tensor:
        """Mean log depth over HINT_DEPTH, its deviation in tens of planes and the largest probability, in this order:
        [B, VOLUME_SUMMARY, h, w]."""
        found = moments(logits, self.log_depths)
        deviation = found.deviation / (10 * self.spacing)
        return torch.cat([found.mean - math.log(HINT_DEPTH), deviation, found.largest], dim=1)


class Moments(NamedTuple):
    """Of a distribution over planes, [B, 1, h, w] each: mean and deviation of log depth, and the largest probability."""

    mean: Tensor
    deviation: Tensor
    largest: Tensor


def moments(logits: Tensor, log_depths: Tensor) -> Moments:
    """The moments of logits [B, D, h, w] of planes of `log_depths` [1, D, 1, 1]."""
    share = logits.softmax(dim=1)
    mean = (share * log_depths).sum(dim=1, keepdim=True)
    variance = (share * (log_depths - mean).square()).sum(dim=1, keepdim=True)
    return Moments(mean, (variance + 1e-6).sqrt(), share.amax(dim=1, keepdim=True))


def _finer(conv: nn.Module, x: Tensor) -> Tensor:
    """[B, D, C, h, w] through a 1x1 convolution to [B, 2 D, C', 2 h, 2 w]."""
    batch, planes = x.shape[:2]
    height, width = x.shape[-2:]
    flat = resize(conv(x.flatten(0, 1)), (2 * height, 2 * width))
    return torch.unflatten(flat, 0, (batch, planes)).repeat_interleave(2, dim=1)
