"""The four heads: context, two gated up-sampling stages, and the last few channels of each task.

Each head takes the task's decoder map and a `resize` that brings a map to the size of the image; what is pointwise and widens the
map (class logits) runs behind it, what narrows it in front. The maps at the heads' full size are made strip by strip.
"""

from __future__ import annotations

import itertools
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2h.config import M2HConfig
from m2h.model.blocks import ConvNorm, bias_of, double, make_conv, mean, normalize_vectors, stretched_mean
from m2h.model.strips import LazyMap, by_strips, stretched_rows


class Resize(Protocol):
    """Brings maps to the pixels of the image."""

    def __call__(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to [B, C, H, W]."""
        ...

    def narrowed(self, x: Tensor) -> Tensor:
        """The first half of it, along the rows only, where that makes them shorter; a whole resize may follow it."""
        ...


INITIAL_DEPTH = 2.0
"""Metres around which an untrained network's depth lies: at 0 the ReLU behind it would pass no gradient."""


class Context(nn.Module):
    """Atrous spatial pyramid pooling: parallel convolutions with growing dilation and a global branch, merged by a 1x1.

    The global branch is constant over space, so it enters the merging convolution as a bias of each image.
    """

    def __init__(self, channels: int, *, separable: bool) -> None:
        super().__init__()
        dilations = (6,) if separable else (6, 12, 18)
        width = channels // 2 if separable else channels
        branches = [make_conv(channels, width, 1, bias=False, separable=False)]
        branches += [
            make_conv(channels, width, 3, bias=False, separable=separable, dilation=dilation) for dilation in dilations
        ]
        self.branches = nn.ModuleList([ConvNorm(conv, width) for conv in branches])
        self.global_conv = nn.Conv2d(channels, width, 1, bias=False)
        self.global_norm = nn.GroupNorm(1, width)
        merged = nn.Conv2d((len(branches) + 1) * width, channels, 1, bias=False)
        self.merge = ConvNorm(merged, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        conv = self.merge.conv
        assert isinstance(conv, nn.Conv2d)
        # One branch after the other through its columns of the merging convolution: their maps are never side by side.
        weights = conv.weight.chunk(len(self.branches) + 1, dim=1)
        overall = F.relu(self.global_norm(self.global_conv(mean(x))))
        merged = F.conv2d(self.branches[0](x), weights[0])
        for branch, weight in zip(self.branches[1:], weights[1:-1], strict=True):
            merged += F.conv2d(branch(x), weight)
        merged += F.conv2d(overall, weights[-1], conv.bias)
        return F.relu_(self.merge.norm(merged))


class UpBlock(nn.Module):
    """Double the size: two 3x3 convolutions, an upsampling, channel gates, and a residual path.

    Ordinary: a transposed 2x2 convolution upsamples; its mean is the mean of its four taps applied to the mean before it.
    Separable: a bilinear upsampling and a grouped 1x1; gates come from weighted means, and gated and residual path are added
    before the one upsampling that both share.
    """

    def __init__(self, in_channels: int, out_channels: int, *, separable: bool) -> None:
        super().__init__()
        self.separable = separable
        bias, groups = not separable, 4 if separable else 1
        self.first = ConvNorm(make_conv(in_channels, out_channels, 3, bias=bias, separable=separable), out_channels)
        self.second = ConvNorm(make_conv(out_channels, out_channels, 3, bias=bias, separable=separable), out_channels)
        self.expand: nn.Module
        if separable:
            self.expand = nn.Conv2d(out_channels, out_channels, 1, groups=groups, bias=False)
        else:
            self.expand = nn.ConvTranspose2d(out_channels, out_channels, 2, stride=2)
        self.residual = nn.Conv2d(in_channels, out_channels, 1, groups=groups, bias=bias)
        self.gate = nn.Sequential(
            nn.Conv2d(out_channels, out_channels // 4, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(out_channels // 4, out_channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: LazyMap) -> LazyMap:
        """[B, in, H, W] to [B, out, 2H, 2W]."""
        y, residual = by_strips(x, lambda rows: (self._convolved(rows), self.residual(rows)), halo=2)
        gate = self._gate(y)
        size = (2 * y.shape[2], 2 * y.shape[3])
        low = torch.addcmul(residual, self.expand(y), gate) if self.separable else residual

        def rows(start: int, stop: int) -> Tensor:
            stretched = stretched_rows(low, size, start, stop)
            if self.separable:
                return stretched
            first = start // 2
            expanded = self.expand(y[:, :, first : -(-stop // 2)])[:, :, start - 2 * first : stop - 2 * first]
            return torch.addcmul(stretched, expanded, gate)

        return LazyMap((*y.shape[:2], *size), rows, x.whole)

    def into(self, x: LazyMap, last: nn.Conv2d) -> Tensor:
        """`last(self(x))` for a pointwise `last` with few outputs, without making the wide map at full size."""
        weight = last.weight.flatten(1)
        if not isinstance(self.expand, nn.ConvTranspose2d):
            y, residual = by_strips(
                x, lambda rows: (self._convolved(rows), F.conv2d(self.residual(rows), last.weight)), halo=2
            )
            return double(residual + last(self.expand(y) * self._gate(y)))
        merged = torch.einsum("po,oi->pi", weight, self.residual.weight.flatten(1))[:, :, None, None]
        y, residual = by_strips(x, lambda rows: (self._convolved(rows), F.conv2d(rows, merged)), halo=2)
        # The gates differ between images, so each image gets its own transposed convolution straight to the outputs.
        gated = weight * self._gate(y).flatten(1).unsqueeze(1)
        taps = torch.einsum("bpo,iokl->bipkl", gated, self.expand.weight)
        bias = gated @ bias_of(self.expand) + weight @ bias_of(self.residual) + bias_of(last)
        return double(residual) + _transpose_2x2(y, taps) + bias[:, :, None, None]

    def _convolved(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))

    def _gate(self, y: Tensor) -> Tensor:
        if isinstance(self.expand, nn.ConvTranspose2d):
            taps = self.expand.weight.mean(dim=(2, 3)).t()[:, :, None, None]
            return self.gate(F.conv2d(mean(y), taps, self.expand.bias))
        doubled = stretched_mean(y, (2 * y.shape[-2], 2 * y.shape[-1]))
        return self.gate(self.expand(doubled))


def _transpose_2x2(x: Tensor, taps: Tensor) -> Tensor:
    """Transposed 2x2 convolution with stride 2 and weights [B, in, out, 2, 2] of each image's own; [B, out, 2H, 2W]."""
    height, width = x.shape[-2:]
    pixels = x.permute(0, 2, 3, 1).flatten(1, 2) @ taps.flatten(2)
    return F.pixel_shuffle(torch.unflatten(pixels.transpose(1, 2), 2, (height, width)), 2)


class Refine(nn.Module):
    """`x + relu(conv(relu(conv(x))))`; separable: `x + relu(conv(x))` with one separable convolution."""

    def __init__(self, channels: int, *, separable: bool) -> None:
        super().__init__()
        self.first = make_conv(channels, channels, 3, bias=not separable, separable=separable)
        self.second = None if separable else make_conv(channels, channels, 3, bias=True, separable=False)
        self.reach = 1 if separable else 2  # rows

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        y = F.relu_(self.first(x))
        return x + (y if self.second is None else F.relu_(self.second(y)))


class DenseHead(nn.Module):
    """Context, up blocks, refinement and a spatial gate; the part that depth and semantics share."""

    def __init__(self, config: M2HConfig, out_channels: int, *, kernel: int) -> None:
        super().__init__()
        widths = (config.channels, *config.head_channels)
        self.context = Context(config.channels, separable=config.separable)
        self.up = nn.ModuleList([UpBlock(a, b, separable=config.separable) for a, b in itertools.pairwise(widths)])
        self.refine = Refine(widths[-1], separable=config.separable)
        self.spatial = nn.Conv2d(widths[-1], 1, 3, padding=1)
        self.out = nn.Conv2d(widths[-1], out_channels, kernel, padding=kernel // 2)

    def features(self, x: Tensor, half: Tensor | None = None) -> LazyMap:
        """[B, C, H, W], context included, to the map at the head's full size, before the refinement.

        `half` is added to what the first up block makes: the backbone's own map of that size.
        """
        source = LazyMap.of(x)
        for number, block in enumerate(self.up):
            source = block(source)
            if number == 0 and half is not None:
                source = source.plus(half)
        return source


class DepthHead(DenseHead):
    """Metric depth: `relu(...) + min_depth`."""

    def __init__(self, config: M2HConfig) -> None:
        super().__init__(config, 1, kernel=3)
        self.min_depth = config.min_depth
        nn.init.constant_(bias_of(self.out), INITIAL_DEPTH)

    def forward(self, x: Tensor, resize: Resize) -> Tensor:
        """[B, C, H, W] to metres [B, 1, ...] of the resized size.

        Gate and depth are 3x3 convolutions to one channel: one pointwise convolution gives the nine taps of both, which are then
        shifted and added. The gate is a number a pixel, so it multiplies the taps instead of the wide map.
        """
        kernels = torch.cat([nine_taps(self.spatial), nine_taps(self.out)])

        def work(rows: Tensor) -> tuple[Tensor]:
            taps = F.conv2d(self.refine(rows), kernels).contiguous()
            gate = torch.sigmoid(sum_shifted(taps[:, :9]) + bias_of(self.spatial))
            return (sum_shifted(taps[:, 9:] * gate) + bias_of(self.out),)

        (depth,) = by_strips(self.features(self.context(x)), work, halo=self.refine.reach + 2)
        return resize(F.relu(depth) + self.min_depth)


class SemanticsHead(DenseHead):
    """Class logits; the 1x1 to the classes runs at the size of the image."""

    def __init__(self, config: M2HConfig) -> None:
        super().__init__(config, config.classes, kernel=1)

    def forward(self, x: Tensor, resize: Resize, half: Tensor | None = None) -> Tensor:
        """[B, C, H, W] and perhaps a map at the size of the first up block to logits [B, classes, ...] of the resized size."""
        kernels = nine_taps(self.spatial)

        def work(rows: Tensor) -> tuple[Tensor]:
            refined = self.refine(rows)
            taps = F.conv2d(refined, kernels).contiguous()
            gate = torch.sigmoid(sum_shifted(taps) + bias_of(self.spatial))
            return (resize.narrowed(refined * gate),)

        (gated,) = by_strips(self.features(self.context(x), half), work, halo=self.refine.reach + 1)
        return self.out(resize(gated))


def nine_taps(conv: nn.Conv2d) -> Tensor:
    """The kernel of a 3x3 convolution to one channel as a pointwise one to nine: [9, C, 1, 1], row-major."""
    return conv.weight.flatten(2).transpose(1, 2).reshape(9, -1, 1, 1)


def sum_shifted(taps: Tensor) -> Tensor:
    """What a 3x3 convolution to one channel does after its products: taps [B, 9, H, W] (row-major kernel) to [B, 1, H, W]."""
    height, width = taps.shape[-2:]
    padded = F.pad(taps, (1, 1, 1, 1))
    shifted = [padded[:, k : k + 1, k // 3 : k // 3 + height, k % 3 : k % 3 + width] for k in range(9)]
    total = shifted[0] + shifted[1]
    for part in shifted[2:]:
        total = total + part
    return total


class PointHead(nn.Module):
    """Up blocks and a 1x1: normals and edges."""

    def __init__(self, config: M2HConfig, out_channels: int) -> None:
        super().__init__()
        widths = (config.channels, *config.head_channels)
        self.up = nn.ModuleList([UpBlock(a, b, separable=config.separable) for a, b in itertools.pairwise(widths)])
        self.out = nn.Conv2d(widths[-1], out_channels, 1)

    def raw(self, x: Tensor, half: Tensor | None = None) -> Tensor:
        """[B, C, H, W] to the outputs at the head's full size; `half` as in `DenseHead.features`."""
        source = LazyMap.of(x)
        for number, block in enumerate(self.up[:-1]):
            source = block(source)
            if number == 0 and half is not None:
                source = source.plus(half)
        last = self.up[-1]
        assert isinstance(last, UpBlock)
        if half is None or len(self.up) > 1:
            return last.into(source, self.out)
        # The last step is linear: what the skip adds to its wide map can be added to the outputs.
        return last.into(source, self.out) + F.conv2d(half, self.out.weight)


class NormalsHead(PointHead):
    """Surface normals: unit vectors of the tanh of the outputs, resized as vectors."""

    def __init__(self, config: M2HConfig) -> None:
        super().__init__(config, 3)
        self.unit = config.unit_normals

    def forward(self, x: Tensor, resize: Resize, half: Tensor | None = None) -> Tensor:
        """[B, C, H, W] to [B, 3, ...] of the resized size."""
        normals = resize(normalize_vectors(torch.tanh(self.raw(x, half))))
        return normalize_vectors(normals) if self.unit else normals


class EdgesHead(PointHead):
    """Edge logits."""

    def __init__(self, config: M2HConfig) -> None:
        super().__init__(config, 1)

    def forward(self, x: Tensor, resize: Resize, half: Tensor | None = None) -> Tensor:
        """[B, C, H, W] to [B, 1, ...] of the resized size."""
        return resize(self.raw(x, half))
