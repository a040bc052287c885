"""From an image to the network's input and back: where each pixel of the image lies in it, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from m2h.record import Preprocessing


@dataclass(frozen=True)
class Placement:
    """An image of `image` (H, W) pixels, resized to `scaled`, lies in an input of `canvas` pixels from (`top`, `left`) on."""

    image: tuple[int, int]
    scaled: tuple[int, int]
    canvas: tuple[int, int]
    top: int
    left: int


def place(image: tuple[int, int], preprocessing: Preprocessing, *, turnable: bool = False) -> Placement:
    """Where an image of (H, W) pixels comes to lie in the network's input.

    With `turnable` an image on end is fitted into an input on end, of as many pixels, instead of into the middle of one that
    lies: for networks that take any size.
    """
    if preprocessing.size is None:
        return Placement(image, image, image, 0, 0)
    canvas = preprocessing.size
    if preprocessing.policy == "squash":
        return Placement(image, canvas, canvas, 0, 0)
    if turnable and (image[0] - image[1]) * (canvas[0] - canvas[1]) < 0:
        canvas = canvas[::-1]
    scale = min(canvas[0] / image[0], canvas[1] / image[1])
    height, width = (max(1, min(whole, round(n * scale))) for n, whole in zip(image, canvas, strict=True))
    return Placement(image, (height, width), canvas, (canvas[0] - height) // 2, (canvas[1] - width) // 2)


def prepare(images: Tensor, placement: Placement, preprocessing: Preprocessing) -> Tensor:
    """RGB images [B, H, W, 3] uint8 to the network's normalised input [B, 3, h, w] float32."""
    x = images.permute(0, 3, 1, 2).float() / 255
    if placement.scaled != placement.image:
        x = F.interpolate(x, placement.scaled, mode="bilinear", antialias=preprocessing.antialias)
    mean, std = (x.new_tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    x = (x - mean) / std
    bottom = placement.canvas[0] - placement.scaled[0] - placement.top
    right = placement.canvas[1] - placement.scaled[1] - placement.left
    return F.pad(x, (placement.left, right, placement.top, bottom)).contiguous(memory_format=torch.channels_last)


def restore(x: Tensor, placement: Placement) -> Tensor:
    """A map [B, C, h, w] of the network's input, cut and resized to the image's pixels [B, C, H, W]."""
    rows = slice(placement.top, placement.top + placement.scaled[0])
    columns = slice(placement.left, placement.left + placement.scaled[1])
    x = x[..., rows, columns]
    if placement.scaled == placement.image:
        return x
    return F.interpolate(x, placement.image, mode="bilinear", align_corners=False)
