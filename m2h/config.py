"""Configuration of the network: one description for the published sizes and for smaller ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from m2h.tasks import ATTENTION_ORDER, TaskName

PublishedName: TypeAlias = Literal["full", "light", "small"]

WIDEST, MOST_STEPS, FARTHEST = 8192, 8, 1e6
"""The most of any size of a network, of steps of its heads, and of metres."""
PATCH = 8
"""Values of an image's patch that is compared: three by three pixels at half the image's size, less their mean."""
DEEP_TAPS = {24: (4, 11, 17, 23)}  # DINOv2's choice for ViT-L; every other depth takes the end of each quarter


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CrossViewConfig:
    """The cost volume over neighbouring frames, and the input for a depth hint. Depth here is canonical: see `M2H`."""

    channels: int = 16
    """Width of the matching features."""
    planes: int = 48
    """Planes of the cost volume, a multiple of four, each farther than the one before by the same ratio."""
    near: float = 0.4
    """Depth of the nearest plane in metres."""
    far: float = 14.0
    """Depth of the farthest plane in metres."""
    widths: tuple[int, int, int, int] = (64, 96, 128, 160)
    """Widths of the pyramid that merges the cost volume with the image's features, at 1/4 to 1/32 of the image."""

    @property
    def kept_channels(self) -> int:
        """Channels of what is kept of a frame for its neighbours: matching features, and four patches of eight values."""
        return self.channels + 4 * PATCH

    def __post_init__(self) -> None:
        if not 0 < self.near < self.far:
            raise ValueError(f"CrossViewConfig: expected 0 < near < far, got near {self.near} and far {self.far}")
        sizes = (self.channels, self.planes, *self.widths)
        if self.planes % 4 or not 1 <= min(sizes) <= max(sizes) <= WIDEST or not self.far <= FARTHEST:
            raise ValueError(
                f"CrossViewConfig: expected channels and widths of 1-{WIDEST}, planes a multiple of 4, far up to {FARTHEST:g}, "
                f"got {self.channels}, {self.widths}, {self.planes} and {self.far:g}"
            )


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class M2HConfig:
    """Sizes and switches of an M2H network. The defaults are the full model of the paper, with the padding cut away again.

    Raises ValueError (pydantic's) naming the field for values that make no network.
    """

    backbone: str = "vit_small_patch14_dinov2"
    """timm name of a vision transformer with a class token, or, with `cross_view`, of a convolutional network."""
    backbone_width: int | None = None
    """Embedding width; None takes the architecture's own."""
    backbone_depth: int | None = None
    """Number of transformer blocks; None takes the architecture's own."""
    backbone_heads: int | None = None
    """Attention heads of the backbone; None takes the architecture's own."""
    image_size: int = 518
    """Side in pixels of the square images for which the position codes are stored."""
    position_resize: Literal["dinov2", "timm"] = "dinov2"
    """How position codes follow the image size: DINOv2's bicubic rule (with its 0.1 offset), or what timm does."""
    taps: tuple[int, int, int, int] | None = None
    """Blocks after which features are taken, shallow to deep, from 0; None takes the end of each quarter (ViT-L as DINOv2)."""
    channels: int = 256
    """Width of the decoder's feature maps."""
    separable: bool = False
    """Light decoder: depthwise-separable convolutions, one residual unit per block, attention at a quarter of the width."""
    head_channels: tuple[int, ...] = (128, 64)
    """Width after each x2 step of the heads; each entry doubles the resolution once more."""
    classes: int = 41
    """Semantic classes, with unknown as class 0."""
    detail_channels: int = 0
    """Width of a convolutional stem from the image straight to the heads, our addition for small backbones whose tokens cannot
    carry fine detail; 0, as published, for none."""
    tasks: tuple[TaskName, ...] = ATTENTION_ORDER
    """Tasks that the network has, in the order of their tokens in a window."""
    attention_layers: int = 2
    """Cross-task attention layers."""
    attention_heads: int = 4
    """Heads of the cross-task attention."""
    window: int = 7
    """Side of an attention window in decoder pixels."""
    min_depth: float = 0.001
    """Metres added to every depth, so that none is zero."""
    crop_padding: bool = True
    """Cut the padding to whole patches away from the outputs; False squeezes it into the image, as the published model does."""
    cross_view: CrossViewConfig | None = None
    """How neighbouring frames are matched; None, as published, for a network that sees one image at a time."""
    unit_normals: bool = True
    """Normalise normals after the last resize; False leaves them shorter at discontinuities, as the published model does."""

    def __post_init__(self) -> None:
        for name in ("image_size", "channels", "classes", "attention_layers", "attention_heads", "window"):
            if not 1 <= getattr(self, name) <= WIDEST:
                raise ValueError(f"M2HConfig.{name} must be 1-{WIDEST}, got {getattr(self, name)}")
        for name in ("backbone_width", "backbone_depth", "backbone_heads"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= WIDEST:
                raise ValueError(f"M2HConfig.{name} must be 1-{WIDEST} or null, got {value}")
        if len(self.head_channels) > MOST_STEPS or max(self.head_channels, default=0) > WIDEST:
            raise ValueError(
                f"M2HConfig.head_channels must list up to {MOST_STEPS} widths up to {WIDEST}, got {self.head_channels}"
            )
        if not self.head_channels or min(self.head_channels) < 4:
            raise ValueError(
                f"M2HConfig.head_channels must list at least one width of 4 or more, got {self.head_channels}"
            )
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"M2HConfig.tasks must name at least one task and none twice, got {self.tasks}")
        if self.attention_channels % self.attention_heads or (
            self.separable and any(n % 4 for n in (self.channels, *self.head_channels))
        ):
            raise ValueError(
                f"M2HConfig.channels must divide into {self.attention_heads} attention heads"
                f"{' and 4 groups' if self.separable else ''}, got {self.channels} and head_channels {self.head_channels}"
            )
        for name in ("min_depth", "detail_channels"):
            if not 0 <= getattr(self, name) <= WIDEST:
                raise ValueError(f"M2HConfig.{name} must be 0-{WIDEST}, got {getattr(self, name)}")
        if self.cross_view is not None and len(self.head_channels) != 1:
            raise ValueError(f"M2HConfig.head_channels must have one entry with cross_view, got {self.head_channels}")
        if self.taps is not None and (sorted(set(self.taps)) != list(self.taps) or self.taps[0] < 0):
            raise ValueError(f"M2HConfig.taps must be four rising block numbers from 0, got {self.taps}")

    @property
    def attention_channels(self) -> int:
        """Width of the cross-task attention: all channels, a quarter of them in the light decoder."""
        return self.channels // 4 if self.separable else self.channels

    def tap_blocks(self, depth: int) -> tuple[int, int, int, int]:
        """The blocks to tap in a backbone of `depth` blocks; raises ValueError when there are too few."""
        taps = self.taps or DEEP_TAPS.get(depth) or (depth // 4 - 1, depth // 2 - 1, 3 * depth // 4 - 1, depth - 1)
        if taps[0] < 0 or taps[-1] >= depth:
            raise ValueError(f"M2HConfig.taps {taps} do not fit a backbone of {depth} blocks, at least 4 are needed")
        return taps

    @classmethod
    def published(cls, name: PublishedName = "full") -> M2HConfig:
        """The network as published, padding and normals included.

        `full` has 81.5 M parameters (all released weights), `light` the released light class (29.0 M), and `small` the same at
        width 256 (33.8 M), which is the paper's M2H-small.
        """
        full = cls(crop_padding=False, unit_normals=False)
        table = {
            "full": full,
            "light": replace(full, separable=True, channels=96),
            "small": replace(full, separable=True, channels=256),
        }
        if name not in table:
            raise ValueError(f"no published network {name!r}; there are {', '.join(table)}")
        return table[name]

    @classmethod
    def cross(cls, *, classes: int = 41) -> M2HConfig:
        """The network that sees neighbouring frames too, on EfficientNet-Lite0: what is shipped."""
        return cls(
            backbone="efficientnet_lite0",
            channels=64,
            head_channels=(32,),
            attention_heads=1,
            attention_layers=1,
            separable=True,
            classes=classes,
            cross_view=CrossViewConfig(),
        )

    @classmethod
    def tiny(cls, *, separable: bool = True, classes: int = 41) -> M2HConfig:
        """A network for tests and laptops: a small ViT with 16-pixel patches, decoded to the size of the image."""
        return cls(
            backbone="vit_tiny_patch16_224",
            backbone_width=96,
            backbone_depth=4,
            backbone_heads=3,
            image_size=224,
            channels=32,
            head_channels=(16,),
            attention_heads=1,
            detail_channels=16,
            separable=separable,
            classes=classes,
        )
