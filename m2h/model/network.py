"""M2H (Udugama, Vosselman, Nex, IROS 2025): one frozen transformer, four tasks that look at each other.

Written from a description of the published network; the numbers agree with it, the order of operations is our own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2h.config import M2HConfig
from m2h.model.backbone import Backbone
from m2h.model.blocks import resize
from m2h.model.cross_task import CrossTaskAttention
from m2h.model.gating import GatedMerge
from m2h.model.heads import HEADS
from m2h.model.reassemble import Detail, Reassemble, TaskFusion, UniqueFeatures
from m2h.tasks import TASKS, TaskName

MERGED: tuple[TaskName, ...] = ("depth", "semantics")
"""Tasks that merge their features with unique ones; normals and edges go on with what attention gives."""


class M2H(nn.Module):
    """The network: images in, one map a task out.

    `model(images)` takes normalised RGB [B, 3, H, W] of any size and returns, at that size and in this order, those of
    depth [B, 1, H, W] metres, semantics [B, classes, H, W] logits, normals [B, 3, H, W] in camera axes, edges [B, 1, H, W] logits
    that the configuration has. Images are padded with zeros about the centre to whole patches; see M2HConfig.crop_padding.
    """

    def __init__(self, config: M2HConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        width, c, separable = self.backbone.width, config.channels, config.separable
        merged = [task for task in MERGED if task in config.tasks]
        self.reassemble = Reassemble(width, c, separable=separable)
        self.fusion = nn.ModuleDict({task: TaskFusion(c, separable=separable) for task in config.tasks})
        self.cross_task = CrossTaskAttention(config)
        self.unique = nn.ModuleDict({task: UniqueFeatures(width, c, separable=separable) for task in merged})
        self.merge = nn.ModuleDict({task: GatedMerge(c, separable=separable) for task in merged})
        self.detail = Detail(config.detail_channels, c, config.tasks) if config.detail_channels else None
        self.heads = nn.ModuleDict({task: HEADS[task](config) for task in config.tasks})

    def forward(self, images: Tensor, tasks: Collection[TaskName] | None = None) -> dict[str, Tensor]:
        """Outputs by task name; `tasks` asks for some of them only and spares their heads.

        Raises ValueError for images of another shape than [B, 3, H, W] and for tasks that the network does not have.
        """
        wanted = self._check(images, tasks)
        padding = centre_padding(images.shape[-2:], self.backbone.patch)
        canvas = F.pad(images, padding).contiguous(memory_format=torch.channels_last)
        taps = self.backbone(canvas)
        pyramid = self.reassemble(taps)
        before = {task: fusion(pyramid) for task, fusion in self.fusion.items()}
        after = dict(zip(before, self.cross_task(list(before.values())), strict=True))
        detail = self.detail(canvas, next(iter(after.values())).shape[-2:]) if self.detail else {}
        outputs: dict[str, Tensor] = {}
        for task in wanted:
            features = after[task]
            if task in self.merge:
                features = self.merge[task](before[task], features, self.unique[task](taps[-1][0]))
            if task in detail:
                features = features + detail[task]
            to_image = ToImage(
                (images.shape[2], images.shape[3]), padding if self.config.crop_padding else (0, 0, 0, 0)
            )
            outputs[task] = self.heads[task](features, to_image)
        return outputs

    def _check(self, images: Tensor, tasks: Collection[TaskName] | None) -> list[TaskName]:
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            raise ValueError(f"images must have shape [B, 3, H, W], got {list(images.shape)}")
        unknown = set(tasks or ()) - set(self.config.tasks)
        if unknown:
            raise ValueError(f"no such task {sorted(unknown)}; this network has {', '.join(self.config.tasks)}")
        return [task for task in TASKS if task in (self.config.tasks if tasks is None else tasks)]


@dataclass(frozen=True)
class ToImage:
    """Maps of the canvas at any resolution to `size` (H, W), with `padding` (left, right, top, bottom) about it cut away."""

    size: tuple[int, int]
    padding: tuple[int, int, int, int]

    def __call__(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to [B, C, H, W]."""
        left, right, top, bottom = self.padding
        height, width = self.size
        x = resize(x, (height + top + bottom, width + left + right))
        return x[..., top : top + height, left : left + width]

    def narrowed(self, x: Tensor) -> Tensor:
        """Rows resized to their final length, uncut, where that makes them shorter; a whole resize may follow."""
        width = self.size[1] + self.padding[0] + self.padding[1]
        return resize(x, (x.shape[2], width)) if width < x.shape[3] else x


def centre_padding(size: tuple[int, int] | torch.Size, patch: int) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) zeros that make (H, W) whole patches; the odd one goes right and bottom."""
    vertical, horizontal = -size[0] % patch, -size[1] % patch
    return horizontal // 2, horizontal - horizontal // 2, vertical // 2, vertical - vertical // 2


def build_model(config: M2HConfig) -> M2H:
    """A network with random weights, in channels-last layout and training mode."""
    return M2H(config).to(memory_format=torch.channels_last)
