"""Large maps made a few rows at a time.

A decoder on a CPU waits for memory: at the heads' full size a map has 67 MB, and each operation reads one and writes one.
Run strip by strip instead, a chain of operations finds its input in the cache, and its wide maps never exist as a whole. The
numbers are the same: a chain of n 3x3 convolutions sees n more rows on either side, which are then cut away. With gradients, on
other devices and in exported graphs every map is one strip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

STRIP_BYTES = 8 << 20
"""Size of the widest map of a strip: some of them fit into the last-level cache together, and halos are a few percent."""


@dataclass(frozen=True)
class LazyMap:
    """A map [B, C, H, W] whose rows are made when they are asked for: `rows(start, stop)` gives [B, C, stop - start, W]."""

    shape: tuple[int, int, int, int]
    rows: Callable[[int, int], Tensor]
    whole: bool
    """It must be made as one strip."""

    @classmethod
    def of(cls, x: Tensor) -> LazyMap:
        """The map that is there already."""
        batch, channels, height, width = x.shape
        return cls((batch, channels, height, width), lambda start, stop: x[:, :, start:stop], runs_whole(x))

    def plus(self, x: Tensor) -> LazyMap:
        """The sum with a map of the same shape that is there already."""
        return LazyMap(self.shape, lambda start, stop: self.rows(start, stop) + x[:, :, start:stop], self.whole)


def runs_whole(x: Tensor) -> bool:
    """Whether strips would not help, or not work: gradients, devices with fast memory, graphs of fixed shape."""
    return torch.is_grad_enabled() or x.device.type != "cpu" or torch.compiler.is_compiling()


def by_strips(
    source: LazyMap, work: Callable[[Tensor], tuple[Tensor, ...]], *, halo: int, channels: int | None = None
) -> tuple[Tensor, ...]:
    """`work` on all rows of the source; its maps have as many rows as it is given.

    `halo` rows on either side of a strip may come out wrong and are made again with the neighbouring strip. `channels` is the
    width of the widest map that `work` makes, by default that of the source.
    """
    batch, own_channels, height, width = source.shape
    step = max(1, STRIP_BYTES // (4 * batch * (channels or own_channels) * width))
    if source.whole or step >= height:
        return work(source.rows(0, height))
    step = max(step, 8 * halo)
    results: tuple[Tensor, ...] = ()
    for start in range(0, height, step):
        stop = min(start + step, height)
        first, last = max(start - halo, 0), min(stop + halo, height)
        parts = work(source.rows(first, last))
        if not results:
            results = tuple(_empty(part, height) for part in parts)
        for result, part in zip(results, parts, strict=True):
            result[:, :, start:stop] = part[:, :, start - first : stop - first]
    return results


def stretched_rows(x: Tensor, size: tuple[int, int], start: int, stop: int) -> Tensor:
    """Rows start..stop of x resized to `size` (H, W), bilinear with the corner pixels aligned."""
    if (start, stop) == (0, size[0]):
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    scale = (x.shape[2] - 1) / (size[0] - 1)
    positions = torch.arange(start, stop, dtype=torch.promote_types(x.dtype, torch.float32)) * scale
    above = positions.long().clamp(max=x.shape[2] - 1)
    below = (above + 1).clamp(max=x.shape[2] - 1)
    low, high = int(above[0]), int(below[-1]) + 1
    columns = F.interpolate(x[:, :, low:high], size=(high - low, size[1]), mode="bilinear", align_corners=True)
    pixels = columns.permute(0, 2, 3, 1)  # rows are copied whole in this order
    weight = (positions - above).to(x.dtype)[:, None, None]
    rows = pixels.index_select(1, above - low).lerp_(pixels.index_select(1, below - low), weight)
    return rows.permute(0, 3, 1, 2)


def _empty(part: Tensor, height: int) -> Tensor:
    """A map like `part` with another height, in channels-last layout, to be filled."""
    shape = (*part.shape[:2], height, part.shape[3])
    return torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=torch.channels_last)
