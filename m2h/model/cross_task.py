"""Window-based cross-task attention: in each window of the decoder's maps the tokens of all tasks attend to each other."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2h.config import M2HConfig
from m2h.model.blocks import bias_of, double

CHUNK_TOKENS = 1568
"""Tokens that go through all layers together at inference on a CPU: the widest activation (1024 wide) then stays in cache."""


class CrossTaskLayer(nn.Module):
    """Norm, attention over a window's tokens of all tasks, feed-forward, norm; each task has its own norms.

    As published, the residual stream starts from the normalised tokens, and nothing is normalised between attention and
    feed-forward.
    """

    def __init__(self, channels: int, heads: int, tasks: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_in = nn.ModuleList([nn.LayerNorm(channels) for _ in range(tasks)])
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)
        self.norm_out = nn.ModuleList([nn.LayerNorm(channels) for _ in range(tasks)])
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Windows [N, tasks, tokens, C] to the same shape."""
        n, tasks, tokens, channels = x.shape
        x = _norm_tasks(x, self.norm_in).reshape(n, tasks * tokens, channels)
        q, k, v = torch.unflatten(linear(x, self.qkv), -1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + linear(attended, self.out)
        x = x + linear(F.gelu(linear(x, self.fc1)), self.fc2)
        return _norm_tasks(x.view(n, tasks, tokens, channels), self.norm_out)


class CrossTaskAttention(nn.Module):
    """All layers over the maps of all tasks; the light network works at a quarter of the width and half the size.

    Windows are cut once: without a shift they never exchange anything, so each runs through all layers on its own. Maps are
    padded with zeros on the right and bottom to whole windows, and those tokens take part as keys and values; before each
    layer they start from zero again.
    """

    def __init__(self, config: M2HConfig) -> None:
        super().__init__()
        c, d, n = config.channels, config.attention_channels, len(config.tasks)
        self.window = config.window
        self.layers = nn.ModuleList(
            [CrossTaskLayer(d, config.attention_heads, n) for _ in range(config.attention_layers)]
        )
        self.down: nn.ModuleList | None = None
        self.up: nn.ModuleList | None = None
        if config.separable:
            self.down = nn.ModuleList([nn.Conv2d(c, d, 1) for _ in range(n)])
            self.up = nn.ModuleList([nn.Conv2d(d, c, 1) for _ in range(n)])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One map [B, C, H, W] a task, in the order of the configuration, to maps of the same shapes; H and W even if light."""
        if self.down is None or self.up is None:
            return self._attend(maps)
        small = [F.max_pool2d(conv(x), 2) for conv, x in zip(self.down, maps, strict=True)]
        return [double(conv(x)) for conv, x in zip(self.up, self._attend(small), strict=True)]

    def _attend(self, maps: list[Tensor]) -> list[Tensor]:
        batch, _, height, width = maps[0].shape
        windows = torch.stack([cut_windows(x, self.window) for x in maps], dim=1)
        real = None
        if height % self.window or width % self.window:
            real = cut_windows(windows.new_ones(1, 1, height, width), self.window).unsqueeze(1)
            real = real.repeat(batch, 1, 1, 1)
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or windows.device.type != "cpu":
            windows = self._run_layers(windows, real)
        else:
            step = max(1, CHUNK_TOKENS // (windows.shape[1] * windows.shape[2]))
            for start in range(0, len(windows), step):
                chunk = slice(start, start + step)
                windows[chunk] = self._run_layers(windows[chunk], None if real is None else real[chunk])
        return [join_windows(x, self.window, (height, width)) for x in windows.unbind(1)]

    def _run_layers(self, windows: Tensor, real: Tensor | None) -> Tensor:
        for number, layer in enumerate(self.layers):
            if number and real is not None:
                windows = windows * real
            windows = layer(windows)
        return windows


def _norm_tasks(x: Tensor, norms: nn.ModuleList) -> Tensor:
    """Each task's own layer norm, x [N, tasks, tokens, C]: normalised together, scaled and shifted a task at a time."""
    scale = torch.stack([cast(Tensor, norm.weight) for norm in norms]).unsqueeze(1)
    shift = torch.stack([bias_of(norm) for norm in norms]).unsqueeze(1)
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), scale)


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """The layer applied to tokens [N, L, D]; on a CPU as a 1x1 convolution, which is faster there."""
    # oneDNN runs the convolution; `F.linear` goes to MKL, which is slower on AMD processors.
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling() or x.shape[-1] < 64:
        return F.linear(x, layer.weight, layer.bias)
    maps = x.unsqueeze(0).permute(0, 3, 1, 2)
    return F.conv2d(maps, layer.weight[:, :, None, None], layer.bias).permute(0, 2, 3, 1).squeeze(0)


def cut_windows(x: Tensor, side: int) -> Tensor:
    """[B, C, H, W] to windows [B * rows * columns, side * side, C], zero-padded on the right and bottom, all row-major."""
    height, width = x.shape[-2:]
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, -width % side, 0, -height % side))
    x = torch.unflatten(torch.unflatten(x, 2, (-1, side)), 1, (-1, side))
    return x.transpose(2, 3).flatten(3, 4).flatten(0, 2)


def join_windows(windows: Tensor, side: int, size: tuple[int, int]) -> Tensor:
    """The inverse of `cut_windows`: windows [N, side * side, C] to [B, C, H, W] of the given size, in channels-last layout."""
    height, width = size
    rows, columns = -(-height // side), -(-width // side)
    x = torch.unflatten(torch.unflatten(windows, 1, (side, side)), 0, (-1, rows, columns)).transpose(2, 3)
    x = x.flatten(3, 4).flatten(1, 2)[:, :height, :width]
    return x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
