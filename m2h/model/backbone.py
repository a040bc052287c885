"""Backbones from timm: a vision transformer with four taps, or a convolutional network with five scales."""

from __future__ import annotations

import math

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2h.config import M2HConfig


class Backbone(nn.Module):
    """A timm vision transformer that returns the residual stream after four of its blocks, without the final norm."""

    def __init__(self, config: M2HConfig) -> None:
        super().__init__()
        sizes = {
            "embed_dim": config.backbone_width,
            "depth": config.backbone_depth,
            "num_heads": config.backbone_heads,
        }
        self.vit = timm.create_model(
            config.backbone,
            pretrained=False,
            num_classes=0,
            img_size=config.image_size,
            dynamic_img_size=True,
            **{name: size for name, size in sizes.items() if size is not None},
        )
        if getattr(self.vit, "cls_token", None) is None:
            raise ValueError(f"M2HConfig.backbone must have a class token, {config.backbone} has none")
        if "dinov2" in config.backbone:
            # DINOv2's checkpoints carry it; only its pretraining uses it. Kept so that they load and save whole.
            self.mask_token = nn.Parameter(torch.zeros(1, self.vit.embed_dim), requires_grad=False)
        # Features are taken in front of the final norm, which stays for the sake of complete checkpoints.
        self.vit.norm.requires_grad_(requires_grad=False)
        self.position_resize = config.position_resize
        self.taps = config.tap_blocks(len(self.vit.blocks))
        self.width: int = self.vit.embed_dim
        self.patch: int = self.vit.patch_embed.patch_size[0]

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Images [B, 3, h*patch, w*patch] to four pairs, shallow to deep: patch map [B, E, h, w], class token [B, E]."""
        if self.position_resize == "timm":
            pairs = self.vit.forward_intermediates(
                images, indices=list(self.taps), return_prefix_tokens=True, intermediates_only=True
            )
            return [(patches, prefix[:, 0]) for patches, prefix in pairs]
        grid = self.vit.patch_embed(images)
        height, width = grid.shape[1:3]
        tokens = torch.cat([self.vit.cls_token.expand(len(images), -1, -1), grid.flatten(1, 2)], dim=1)
        tokens = self.vit.norm_pre(tokens + self._positions(height, width))
        outputs = []
        for number, block in enumerate(self.vit.blocks[: self.taps[-1] + 1]):
            tokens = block(tokens)
            if number in self.taps:
                # Row-major tokens seen as a map are already laid out channels-last: no copy.
                patches = torch.unflatten(tokens[:, 1:].transpose(1, 2), 2, (height, width))
                outputs.append((patches, tokens[:, 0]))
        return outputs

    def _positions(self, height: int, width: int) -> Tensor:
        """Position codes [1, 1 + height*width, E] by DINOv2's rule.

        The stored square grid is resized with bicubic interpolation by the factor (size + 0.1) / stored: the 0.1 moves the
        sampling positions, and weights trained with it expect that.
        """
        codes = self.vit.pos_embed
        side = math.isqrt(codes.shape[1] - 1)
        if height == width == side:
            return codes
        grid = torch.unflatten(codes[:, 1:].float(), 1, (side, side)).permute(0, 3, 1, 2)
        scale = ((height + 0.1) / side, (width + 0.1) / side)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False, antialias=False)
        return torch.cat([codes[:, :1], grid.flatten(2).transpose(1, 2).to(codes.dtype)], dim=1)


class ConvBackbone(nn.Module):
    """A timm convolutional network that returns its maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image."""

    patch = 32

    def __init__(self, name: str) -> None:
        super().__init__()
        self.cnn = timm.create_model(name, pretrained=False, features_only=True, out_indices=(0, 1, 2, 3, 4))
        reductions = list(self.cnn.feature_info.reduction())
        if reductions != [2, 4, 8, 16, 32]:
            raise ValueError(f"M2HConfig.backbone must have maps at 1/2 to 1/32 of the image, {name} has {reductions}")
        self.channels: list[int] = list(self.cnn.feature_info.channels())

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images [B, 3, H, W], both divisible by 32, to maps [B, C_i, H / 2^i, W / 2^i] for i from 1 to 5."""
        return list(self.cnn(images))

    def shallow(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The maps at 1/4 and 1/8 alone, at the cost of the layers up to there where the network can stop early."""
        if not self.is_staged:
            maps = self.forward(images)
            return maps[1], maps[2]
        maps = self._stages(images, 3)
        return maps[1], maps[2]

    @property
    def is_staged(self) -> bool:
        """Whether it is of timm's EfficientNet family, whose stages can be run one by one."""
        return hasattr(self.cnn, "_stage_out_idx")

    def _stages(self, images: Tensor, count: int) -> list[Tensor]:
        """The first `count` maps of a network of timm's EfficientNet family."""
        x = self.cnn.bn1(self.cnn.conv_stem(images))
        maps: list[Tensor] = []
        for number, block in enumerate(self.cnn.blocks, start=1):
            x = block(x)
            if number in self.cnn._stage_out_idx:
                maps.append(x)
            if len(maps) == count:
                break
        return maps
