"""NanoDet-g, a convolutional detector of the 80 classes of COCO (R. Lyu, github.com/RangiLyu/nanodet, 2021), for inference.

Batch norms are part of the convolutions before them. Boxes are distributions of the distances from a cell to four sides
(generalised focal loss, Li et al., NeurIPS 2020).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = tuple(
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,bench,bird,"
    "cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,"
    "sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,"
    "bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,"
    "toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,"
    "teddy bear,hair drier,toothbrush".split(",")
)
"""Of the channels of the scores."""
STRIDES = (8, 16, 32)
"""Pixels of the input between the cells of each map."""
DISTANCES = 11
"""A side lies at 0 to 10 strides from a cell."""
CHANNELS = 128
"""Of the maps of the neck and the heads."""


class NanoDet(nn.Module):
    """Backbone, pyramid and heads: normalised RGB images [B, 3, H, W], sides divisible by 32, to boxes and scores of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, 32, stride=2)
        self.stages = nn.ModuleList(
            [
                BackboneStage(32, 1, stride=1),
                BackboneStage(64, 2, stride=2),
                BackboneStage(128, 2, stride=2),
                BackboneStage(256, 3, stride=2),
            ]
        )
        self.lateral = nn.ModuleList([nn.Conv2d(channels, CHANNELS, 1) for channels in (128, 256, 512)])
        self.towers = nn.ModuleList([Convolution(CHANNELS, CHANNELS) for _ in STRIDES])
        self.heads = nn.ModuleList([nn.Conv2d(CHANNELS, len(CLASSES) + 4 * DISTANCES, 1) for _ in STRIDES])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [B, N, 4], x0, y0, x1, y1 in pixels of the input with 0 at its left and upper edge, and scores [B, N, 80] in
        [0, 1]."""
        boxes, scores = [], []
        for stride, tower, head, x in zip(STRIDES, self.towers, self.heads, self._pyramid(images), strict=True):
            found = head(tower(x))
            logits, distances = found.flatten(2).transpose(1, 2).split((len(CLASSES), 4 * DISTANCES), dim=-1)
            scores.append(logits.sigmoid())
            boxes.append(_boxes(distances, found.shape[-1], stride))
        return torch.cat(boxes, dim=1), torch.cat(scores, dim=1)

    def _pyramid(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps at the three strides, each of which has looked at the others: coarse to fine, then fine to coarse (PANet)."""
        x = F.max_pool2d(self.stem(images), 3, stride=2, padding=1)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        fine, middle, coarse = (lateral(x) for lateral, x in zip(self.lateral, maps[1:], strict=True))
        middle = middle + _resized(coarse, middle)
        fine = fine + _resized(middle, fine)
        middle = middle + _resized(fine, middle)
        coarse = coarse + _resized(middle, coarse)
        return fine, middle, coarse


class Convolution(nn.Module):
    """A 3x3 convolution with a leaky ReLU: [B, in, H, W] to [B, out, H / stride, W / stride]."""

    def __init__(self, channels: int, out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu_(self.conv(x), 0.1)


class Halves(nn.Module):
    """Two convolutions in a row, each to half the channels, side by side: [B, C, H, W] to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels // 2)
        self.second = Convolution(channels // 2, channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        return torch.cat((self.second(first), first), dim=1)


class BackboneStage(nn.Module):
    """A stage of the backbone, half of whose output passes by its blocks (CSPNet): [B, C, H, W] to
    [B, 2 C, H / stride, W / stride]."""

    def __init__(self, channels: int, blocks: int, *, stride: int) -> None:
        super().__init__()
        self.enter = Convolution(channels, channels, stride=stride)
        self.blocks = nn.Sequential(*[Halves(channels) for _ in range(blocks)])
        self.leave = Convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return torch.cat((self.leave(self.blocks(x)), x), dim=1)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


def _boxes(logits: Tensor, columns: int, stride: int) -> Tensor:
    """Boxes [B, N, 4] by the logits [B, N, 4 * 11] of the distances to left, top, right and bottom, in strides."""
    steps = torch.arange(DISTANCES, dtype=logits.dtype, device=logits.device)
    distances = (logits.view(*logits.shape[:-1], 4, DISTANCES).softmax(dim=-1) @ steps) * stride
    number = torch.arange(logits.shape[1], device=logits.device)
    centres = (torch.stack((number % columns, number // columns), dim=-1) + 0.5) * stride
    return torch.cat((centres - distances[..., :2], centres + distances[..., 2:]), dim=-1)
