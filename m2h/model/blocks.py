"""Pieces that the decoder is made of: convolutions, residual units, exact shortcuts around bilinear upsampling.

The decoder spends its time moving large maps, so its modules follow one order throughout: what is linear and pointwise runs
before an upsampling instead of behind it (interpolation weights sum to one, so the two commute), and means of upsampled maps
are taken from the small ones. Both are exact in real arithmetic. All maps are [B, C, H, W], best in channels-last layout.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def bias_of(layer: nn.Module) -> Tensor:
    """The bias of a layer that was made with one."""
    assert isinstance(layer.bias, Tensor)
    return layer.bias


class SeparableConv2d(nn.Module):
    """A depthwise convolution followed by a pointwise one, both with or both without bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, bias: bool, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel, padding=padding, dilation=dilation, groups=in_channels, bias=bias
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, H, W]."""
        return self.pointwise(self.depthwise(x))


def make_conv(
    in_channels: int, out_channels: int, kernel: int, *, bias: bool, separable: bool, dilation: int = 1
) -> nn.Module:
    """A size-keeping convolution, ordinary or separable."""
    if separable:
        return SeparableConv2d(in_channels, out_channels, kernel, bias=bias, dilation=dilation)
    return nn.Conv2d(in_channels, out_channels, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=bias)


class ConvNorm(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, conv: nn.Module, channels: int) -> None:
        super().__init__()
        self.conv = conv
        self.norm: nn.Module = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, H, W]."""
        return F.relu_(self.norm(self.conv(x)))


class ResidualUnit(nn.Module):
    """`x + conv(relu(conv(relu(x))))`; separable: `x + conv(gelu(x))` with one separable convolution."""

    def __init__(self, channels: int, *, separable: bool) -> None:
        super().__init__()
        self.first = make_conv(channels, channels, 3, bias=False, separable=separable)
        self.second = None if separable else make_conv(channels, channels, 3, bias=False, separable=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        if self.second is None:
            return x + self.first(F.gelu(x))
        return x + self.second(F.relu_(self.first(F.relu(x))))


class FusionBlock(nn.Module):
    """Add a skip map, refine, and double the size (unless `grow` is false).

    The separable block passes the skip map through the same unit as the sum; the ordinary one has a unit of its own for it.
    """

    def __init__(self, channels: int, *, separable: bool, skip: bool, grow: bool = True) -> None:
        super().__init__()
        self.grow = grow
        self.unit = ResidualUnit(channels, separable=separable)
        self.skip_unit = ResidualUnit(channels, separable=False) if skip and not separable else None
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """[B, C, H, W] to [B, C, 2H, 2W], or the same size; a skip map of another size is resized to x first."""
        if skip is not None:
            if skip.shape[-2:] != x.shape[-2:]:
                skip = resize(skip, x.shape[-2:])
            x = x + (self.skip_unit or self.unit)(skip)
        x = self.project(self.unit(x))
        return double(x) if self.grow else x


def resize(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Bilinear resize to (H, W) with pixel centres aligned (`u' = (u + 0.5) s - 0.5`), without antialiasing."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def stretch(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Bilinear resize to (H, W) with the corner pixels aligned."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


def double(x: Tensor) -> Tensor:
    """Bilinear x2 with the corner pixels aligned."""
    return stretch(x, (2 * x.shape[-2], 2 * x.shape[-1]))


def mean(x: Tensor) -> Tensor:
    """Mean over space, [B, C, 1, 1]."""
    return x.mean(dim=(2, 3), keepdim=True)


def stretched_mean(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Mean over space of `stretch(x, size)`, [B, C, 1, 1], without making the large map.

    Interpolation is separable, so its mean is a weighted mean of x along the columns, then along the rows.
    """
    rows = x.new_tensor(_stretch_weights(x.shape[-2], size[0])).expand(len(x), 1, -1)
    columns = x.new_tensor(_stretch_weights(x.shape[-1], size[1])).expand(len(x), 1, -1)
    # One axis after the other: products of both weights would be too small for float16.
    pixels = x.permute(0, 2, 3, 1)
    means = columns @ torch.unflatten(rows @ pixels.flatten(2), 2, pixels.shape[2:]).squeeze(1)
    return means.transpose(1, 2).unsqueeze(-1)


@lru_cache(maxsize=256)
def _stretch_weights(source: int, target: int) -> list[float]:
    """How much each of `source` samples weighs in the mean of `target` samples stretched from them."""
    weights = [0.0] * source
    for index in range(target):
        position = index * (source - 1) / (target - 1) if target > 1 else 0.0
        low = min(int(position), source - 1)
        fraction = position - low
        weights[low] += (1 - fraction) / target
        if fraction:
            weights[low + 1] += fraction / target
    return weights


def normalize_vectors(x: Tensor) -> Tensor:
    """Vectors along dimension 1 scaled to unit length; zero stays zero."""
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(1e-12)
