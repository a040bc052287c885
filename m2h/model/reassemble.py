"""From transformer tokens to feature maps: the shared pyramid, its fusion for each task, and the task-unique features."""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2h.model.blocks import ConvNorm, FusionBlock, make_conv, resize
from m2h.tasks import TaskName


def pyramid_channels(width: int) -> list[int]:
    """Channels of the four levels before reduction, shallow to deep."""
    return [width // 8, width // 4, width // 2, width]


class Reassemble(nn.Module):
    """Tokens of four blocks to a pyramid of maps at 4, 2, 1 and 1/2 times the token grid (as in DPT, readout "project")."""

    def __init__(self, width: int, channels: int, *, separable: bool) -> None:
        super().__init__()
        p = pyramid_channels(width)
        self.readout = nn.ModuleList([nn.Linear(2 * width, width) for _ in p])
        self.project = nn.ModuleList([make_conv(width, n, 1, bias=True, separable=separable) for n in p])
        self.resize = nn.ModuleList(
            [
                nn.ConvTranspose2d(p[0], p[0], 4, stride=4),
                nn.ConvTranspose2d(p[1], p[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(p[3], p[3], 3, stride=2, padding=1),
            ]
        )
        self.reduce = nn.ModuleList([make_conv(n, channels, 3, bias=False, separable=separable) for n in p])

    def forward(self, taps: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Four (map [B, E, h, w], class token [B, E]) to maps [B, C, ...] of 4h x 4w, 2h x 2w, h x w, and half that."""
        levels = []
        for i, (patches, class_token) in enumerate(taps):
            x = self.project[i](self._read_out(i, patches, class_token))
            levels.append(self.reduce[i](self.resize[i](x)))
        return levels

    def _read_out(self, level: int, patches: Tensor, class_token: Tensor) -> Tensor:
        """GELU(Linear([patch, class])): the class token's half is the same for all patches and is computed once."""
        linear = self.readout[level]
        assert isinstance(linear, nn.Linear)
        width = patches.shape[1]
        tokens = F.linear(patches.flatten(2).transpose(1, 2), linear.weight[:, :width])
        shared = F.linear(class_token, linear.weight[:, width:], linear.bias)
        tokens = F.gelu(tokens + shared.unsqueeze(1))
        return tokens.transpose(1, 2).reshape(patches.shape)


class TaskFusion(nn.Module):
    """One task's own path up the pyramid: four fusion blocks, deep to shallow, then a 3x3 convolution."""

    def __init__(self, channels: int, *, separable: bool, grow: bool = True) -> None:
        """`grow`: the last block doubles the size as the others do."""
        super().__init__()
        self.blocks = nn.ModuleList(
            [
                FusionBlock(channels, separable=separable, skip=number > 0, grow=grow or number < 3)
                for number in range(4)
            ]
        )
        self.project = make_conv(channels, channels, 3, bias=True, separable=separable)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Pyramid (shallow to deep) to [B, C, 16u, 16v], or 8u x 8v without `grow`, u x v being the deepest level's size."""
        x = self.blocks[0](pyramid[3])
        for block, skip in zip(self.blocks[1:], pyramid[2::-1], strict=True):
            x = block(x, skip)
        return F.relu_(self.project(x))


class Detail(nn.Module):
    """Fine detail from the image itself: two convolutions at half its size, then a 1x1 for each task."""

    def __init__(self, width: int, channels: int, tasks: Collection[TaskName]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNorm(nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False), width),
            ConvNorm(nn.Conv2d(width, width, 3, padding=1, bias=False), width),
        )
        self.project = nn.ModuleDict({task: nn.Conv2d(width, channels, 1) for task in tasks})

    def forward(self, images: Tensor, size: torch.Size) -> dict[str, Tensor]:
        """Images [B, 3, H, W] to a map [B, C, *size] a task."""
        x = self.stem(images)
        if x.shape[-2:] != size:
            x = resize(x, size)
        return {task: project(x) for task, project in self.project.items()}


class UniqueFeatures(nn.Module):
    """Features of one task straight from the deepest patch tokens, besides the shared pyramid."""

    def __init__(self, width: int, channels: int, *, separable: bool) -> None:
        super().__init__()
        self.project = make_conv(width, width, 1, bias=True, separable=separable)
        self.down = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.reduce = make_conv(width, channels, 3, bias=True, separable=separable)
        self.block = FusionBlock(channels, separable=separable, skip=False)

    def forward(self, patches: Tensor) -> Tensor:
        """[B, E, h, w] to [B, C, 2 ceil(h/2), 2 ceil(w/2)]."""
        return self.block(F.gelu(self.reduce(self.down(self.project(patches)))))
