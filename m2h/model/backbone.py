"""Vision-transformer backbone: four maps of patch tokens, each with its class token."""

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
