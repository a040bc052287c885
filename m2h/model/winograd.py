"""3x3 convolutions by Winograd's minimal filtering, for wide maps on a CPU: a quarter of the multiplications.

An output tile of 4x4 pixels depends on 6x6 input pixels. Both transformed to 36 numbers, the convolution is 36 independent
products of matrices (channels in by channels out), with 36 instead of 144 multiplications a tile and pair of channels: F(4x4,
3x3) of Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016. It is Toom-Cook interpolation, here at 0,
+-3/4, +-3/2 and infinity: of the choices of small fractions tried the one with the least rounding, some five times that of the
plain sum.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE, FIELD = 4, 6
"""Pixels along the side of an output tile, and of what it depends on."""
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
MIN_CHANNELS = 256
"""From this many channels in and out the products outweigh the transforms."""
MIN_TILES = 256
"""From this many tiles the products outweigh the transform of the weights."""
CHUNK_TILES = 128
"""Tiles that go through all steps together: their transforms stay in the cache."""


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution that keeps the size and takes the faster way for the map at hand."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, H, W]."""
        if winograd_pays(x, self):
            return winograd_conv(x, self.weight, self.bias)
        return super().forward(x)


def winograd_pays(x: Tensor, conv: Conv3x3) -> bool:
    """Whether a convolution of the map is one that this module does, and does faster than the plain one."""
    return (
        x.device.type == "cpu"
        and x.dtype == conv.weight.dtype == torch.float32
        and not (torch.is_grad_enabled() or torch.compiler.is_compiling() or _autocasting())
        and conv.dilation == (1, 1)
        and min(conv.in_channels, conv.out_channels) >= MIN_CHANNELS
        and (x.shape[2] // TILE) * (x.shape[3] // TILE) >= MIN_TILES
    )


def winograd_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 3x3 convolution with one pixel of zero padding: [B, in, H, W] and [out, in, 3, 3] to [B, out, H, W]."""
    batch, channels, height, width = x.shape
    rows, columns = -(-height // TILE), -(-width // TILE)
    canvas = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, TILE * columns + 1 - width, 1, TILE * rows + 1 - height))
    inputs, kernels, outputs = _transforms()
    products = torch.mm(kernels, weight.permute(2, 3, 1, 0).reshape(9, -1)).view(FIELD**2, channels, -1)
    result = x.new_empty(batch, rows, TILE, columns, TILE, len(weight))
    step = max(1, CHUNK_TILES // columns)
    down, right = canvas.stride(1), canvas.stride(2)
    for image, target in zip(canvas, result, strict=True):
        for start in range(0, rows, step):
            count = min(step, rows - start)
            tiles = image[TILE * start :].as_strided(
                (FIELD, FIELD, count, columns, channels), (down, right, TILE * down, TILE * right, 1)
            )
            transformed = torch.mm(inputs, tiles.reshape(FIELD**2, -1)).view(FIELD**2, -1, channels)
            summed = torch.bmm(transformed, products).view(FIELD**2, -1)
            pixels = torch.mm(outputs, summed).view(TILE, TILE, count, columns, -1).permute(2, 0, 3, 1, 4)
            if bias is None:
                target[start : start + count] = pixels
            else:
                torch.add(pixels, bias, out=target[start : start + count])
    return result.view(batch, TILE * rows, TILE * columns, -1)[:, :height, :width].permute(0, 3, 1, 2)


def _autocasting() -> bool:
    try:
        return torch.is_autocast_enabled("cpu")
    except TypeError:  # torch before 2.4 asks without a device
        return torch.is_autocast_cpu_enabled()


@lru_cache(maxsize=1)
def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Matrices of the two-dimensional transforms: of 36 input pixels, of 9 weights, and back to 16 output pixels."""
    points = torch.tensor(POINTS, dtype=torch.float64)
    finite = len(points)
    inputs = torch.zeros(FIELD, FIELD, dtype=torch.float64)
    kernels = torch.zeros(FIELD, 3, dtype=torch.float64)
    outputs = torch.zeros(TILE, FIELD, dtype=torch.float64)
    for i, point in enumerate(POINTS):
        others = [p for j, p in enumerate(POINTS) if j != i]
        inputs[i, :finite] = _polynomial(others)
        kernels[i] = point ** torch.arange(3) / (points[i] - torch.tensor(others, dtype=torch.float64)).prod()
        outputs[:, i] = point ** torch.arange(TILE)
    inputs[finite], kernels[finite, 2], outputs[TILE - 1, finite] = _polynomial(list(POINTS)), 1, 1
    with torch.inference_mode(mode=False):
        inputs, kernels, outputs = (torch.kron(x, x).float() for x in (inputs, kernels, outputs))
    return inputs, kernels, outputs


def _polynomial(roots: list[float]) -> Tensor:
    """Coefficients, constant first, of the product of (x - root)."""
    coefficients = torch.ones(1, dtype=torch.float64)
    for root in roots:
        coefficients = F.pad(coefficients, (1, 0)) - root * F.pad(coefficients, (0, 1))
    return coefficients
