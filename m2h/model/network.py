"""M2H (Udugama, Vosselman, Nex, IROS 2025): one backbone, four tasks that look at each other.

Written from a description of the published network; the numbers agree with it, the order of operations is our own. With
`M2HConfig.cross_view` the same decoder stands on a convolutional backbone and a cost volume over neighbouring frames.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2h.config import M2HConfig
from m2h.model.backbone import Backbone, ConvBackbone
from m2h.model.blocks import resize
from m2h.model.cascade import Matched, central_patches, packed_patches
from m2h.model.cross_task import CrossTaskAttention
from m2h.model.cross_view import CostVolume, MatchingFeatures, Neighbours, ViewPyramid, product
from m2h.model.gating import GatedMerge
from m2h.model.heads import DepthHead, EdgesHead, NormalsHead, SemanticsHead
from m2h.model.hints import hint_maps, small_hint
from m2h.model.plane_filter import PlaneFilter
from m2h.model.plane_head import PlaneDepthHead, PlaneEvidence
from m2h.model.reassemble import Detail, Reassemble, TaskFusion, UniqueFeatures
from m2h.tasks import TASKS, TaskName

MERGED: tuple[TaskName, ...] = ("depth", "semantics")
"""Tasks that merge their features with unique ones; normals and edges continue with what attention gives."""
HEADS: dict[TaskName, Callable[[M2HConfig], nn.Module]] = {
    "depth": lambda config: DepthHead(config) if config.cross_view is None else PlaneDepthHead(config),
    "semantics": SemanticsHead,
    "normals": NormalsHead,
    "edges": EdgesHead,
}


class M2H(nn.Module):
    """The network: images in, one map a task out.

    `model(images)` takes normalised RGB [B, 3, H, W] of any size and returns, at that size and in this order, those of
    depth [B, 1, H, W] metres, semantics [B, classes, H, W] logits, normals [B, 3, H, W] in camera axes, edges [B, 1, H, W] logits
    that the configuration has. Images are padded with zeros about the centre to whole patches; see M2HConfig.crop_padding.

    With `M2HConfig.cross_view` it can be given neighbouring frames and a depth hint, and answers without them all the same. Its
    depth is canonical: metres times the focal length that the network learnt for over the camera's own, so that things of one
    size look alike at one depth whatever the lens. A further output `depth_error` [B, 1, H, W] is the logarithm of the scale of a
    Laplace distribution of the error of log depth; in training mode also `depth_planes`, the logits of the planes.
    """

    def __init__(self, config: M2HConfig) -> None:
        super().__init__()
        self.config = config
        c, separable = config.channels, config.separable
        merged = [task for task in MERGED if task in config.tasks]
        self.backbone: Backbone | ConvBackbone
        self.reassemble: Reassemble | ViewPyramid
        self.matching: MatchingFeatures | None = None
        if config.cross_view is None:
            self.backbone = Backbone(config)
            width = self.backbone.width
            self.reassemble = Reassemble(width, c, separable=separable)
        else:
            self.backbone = ConvBackbone(config.backbone)
            half, *maps = self.backbone.channels
            width = config.cross_view.widths[-1]
            self.reassemble = ViewPyramid(maps, config.cross_view, c, separable=separable)
            self.matching = MatchingFeatures(maps[0], maps[1], config.cross_view.channels)
            self.cost_volume = CostVolume(config.cross_view)
            self.plane_filter = PlaneFilter(config.cross_view, maps[1])
            self.skip = nn.ModuleDict({task: nn.Conv2d(half, config.head_channels[0], 1) for task in config.tasks})
        growing = config.cross_view is None
        self.fusion = nn.ModuleDict({task: TaskFusion(c, separable=separable, grow=growing) for task in config.tasks})
        self.cross_task = CrossTaskAttention(config)
        self.unique = nn.ModuleDict({task: UniqueFeatures(width, c, separable=separable) for task in merged})
        self.merge = nn.ModuleDict({task: GatedMerge(c, separable=separable) for task in merged})
        self.detail = Detail(config.detail_channels, c, config.tasks) if config.detail_channels else None
        self.heads = nn.ModuleDict({task: HEADS[task](config) for task in config.tasks})

    def forward(
        self,
        images: Tensor,
        neighbours: Neighbours | None = None,
        hint: Tensor | None = None,
        tasks: Collection[TaskName] | None = None,
        stride: int = 1,
    ) -> dict[str, Tensor]:
        """Outputs by task name; `tasks` asks for some of them only and spares their heads. Without any, `depth_planes` and
        `depth_plane_logs` are left, for training matching by itself: no gradient reaches the backbone, but all views do.

        `hint` [B, 2, H, W] is canonical depth (0 unknown) and its confidence in [0, 1]. Outputs have 1/`stride` of the images'
        size, which must be whole, padding included.

        Raises ValueError for images of another shape than [B, 3, H, W], for tasks that the network does not have, and for
        neighbours or a hint where its configuration has no cross_view.
        """
        wanted = self._check(images, tasks)
        if not wanted and neighbours is not None:
            return self._planes_alone(images, neighbours, hint)
        padding = centre_padding(images.shape[-2:], self.backbone.patch)
        canvas = F.pad(images, padding).contiguous(memory_format=torch.channels_last)
        if self.matching is None:
            if neighbours is not None or hint is not None:
                raise ValueError("this network sees one image at a time: its configuration has no cross_view")
            encoded = self._encode(canvas)
        else:
            encoded = self._encode_views(canvas, _on_canvas(neighbours, padding), hint, padding)
        before = {task: fusion(encoded.pyramid) for task, fusion in self.fusion.items()}
        after = dict(zip(before, self.cross_task(list(before.values())), strict=True))
        detail = self.detail(canvas, next(iter(after.values())).shape[-2:]) if self.detail else {}
        left, right, top, bottom = (n // stride for n in (padding if self.config.crop_padding else (0, 0, 0, 0)))
        to_image = ToImage((images.shape[2] // stride, images.shape[3] // stride), (left, right, top, bottom))
        outputs: dict[str, Tensor] = {}
        for task in wanted:
            features = after[task]
            if task in self.merge:
                features = self.merge[task](before[task], features, self.unique[task](encoded.deepest))
            if task in detail:
                features = features + detail[task]
            if encoded.half is None:
                outputs[task] = self.heads[task](features, to_image)
            elif task == "depth":
                outputs |= self.heads[task](features, to_image, self.skip[task](encoded.half), encoded.evidence)
            else:
                outputs[task] = self.heads[task](features, to_image, self.skip[task](encoded.half))
        return outputs

    def match(self, images: Tensor, *, through_backbone: bool = True) -> Tensor:
        """What is kept of images [B, 3, H, W] for the frames whose neighbours they are: matching features and, for the fine
        volume, patches [B, C, h, w].

        `through_backbone` False lets gradients reach what comes after the backbone alone.

        Raises ValueError where the configuration has no cross_view.
        """
        if self.matching is None:
            raise ValueError("this network sees one image at a time: its configuration has no cross_view")
        assert isinstance(self.backbone, ConvBackbone)
        padding = centre_padding(images.shape[-2:], self.backbone.patch)
        canvas = F.pad(images, padding).contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(torch.is_grad_enabled() and through_backbone):
            maps = self.backbone.shallow(canvas)
        return torch.cat([self.matching(*maps), packed_patches(canvas)], dim=1)

    def _planes_alone(self, images: Tensor, neighbours: Neighbours, hint: Tensor | None) -> dict[str, Tensor]:
        """The logits of the planes of images of whole patches, and what matching alone says of them."""
        assert self.matching is not None
        assert isinstance(self.backbone, ConvBackbone)
        with torch.no_grad():
            maps = list(self.backbone.shallow(images))
        hinted = self.plane_filter.hinted_planes(small_hint(hint, maps[0]))
        volume, _, logits = self.plane_evidence(self.matching(*maps), maps[1], neighbours, hinted)
        matched = torch.exp(self.plane_filter.log_sharpness) * volume
        return {
            "depth_planes": torch.stack([logits, matched], dim=1),
            "depth_plane_logs": self.plane_filter.log_depths,
        }

    def _encode(self, canvas: Tensor) -> _Encoded:
        taps = self.backbone(canvas)
        return _Encoded(self.reassemble(taps), taps[-1][0])

    def plane_evidence(
        self, features: Tensor, eighth: Tensor, neighbours: Neighbours | None, hinted: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cost volume and the share of the neighbours that see its points, zeros without neighbours, and the logits of the
        planes: each [B, D, h, w]. `features` [B, C, h, w] are the image's for matching, `eighth` the backbone's map at 1/8, and
        `hinted` what a hint says of the planes."""
        if neighbours is None:
            volume = features.new_zeros(len(features), self.plane_filter.log_depths.shape[1], *features.shape[-2:])
            seen = torch.zeros_like(volume)
        else:
            views = self._features_of(neighbours)[:, :, : features.shape[1]]
            volume, seen = self.cost_volume(features, neighbours._replace(views=views))
        return volume, seen, self.plane_filter(volume, seen, hinted, eighth)

    def _features_of(self, neighbours: Neighbours) -> Tensor:
        """What `match` gives of the neighbours [B, N, C, h, w]."""
        if neighbours.views.shape[2] != 3:
            return neighbours.views
        return torch.unflatten(self.match(neighbours.views.flatten(0, 1)), 0, neighbours.views.shape[:2])

    def _encode_views(
        self, canvas: Tensor, neighbours: Neighbours | None, hint: Tensor | None, padding: tuple[int, int, int, int]
    ) -> _Encoded:
        assert self.matching is not None
        half, *maps = self.backbone(canvas)
        features = self.matching(*maps[:2])
        if neighbours is not None:
            neighbours = neighbours._replace(views=self._features_of(neighbours))
        padded = None if hint is None else F.pad(hint, padding)
        small = small_hint(padded, maps[0])
        hinted = self.plane_filter.hinted_planes(small)
        volume, seen, logits = self.plane_evidence(features, maps[1], neighbours, hinted)
        known = torch.cat([volume, self.plane_filter.summary(logits)], dim=1)
        share = seen.mean(dim=1, keepdim=True)
        pyramid, deepest = self.reassemble(maps, known, share, hint_maps(small))
        matched = None if neighbours is None else Matched.of(features, central_patches(canvas), neighbours)
        return _Encoded(pyramid, deepest, half, PlaneEvidence(logits, share, hinted, matched, padded, hint))

    def _check(self, images: Tensor, tasks: Collection[TaskName] | None) -> list[TaskName]:
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            raise ValueError(f"images must have shape [B, 3, H, W], got {list(images.shape)}")
        unknown = set(tasks or ()) - set(self.config.tasks)
        if unknown:
            raise ValueError(f"no such task {sorted(unknown)}; this network has {', '.join(self.config.tasks)}")
        return [task for task in TASKS if task in (self.config.tasks if tasks is None else tasks)]


class _Encoded(NamedTuple):
    """What the decoder starts from: pyramid, deepest map, and with cross_view the map at 1/2 and what is known of depth."""

    pyramid: list[Tensor]
    deepest: Tensor
    half: Tensor | None = None
    evidence: PlaneEvidence | None = None


def _on_canvas(neighbours: Neighbours | None, padding: tuple[int, int, int, int]) -> Neighbours | None:
    """The neighbours with projections between padded images: pixels move by the padding on the left and at the top."""
    if neighbours is None or not any(padding):
        return neighbours
    shift = torch.eye(3, dtype=neighbours.projections.dtype, device=neighbours.projections.device)
    shift[0, 2], shift[1, 2] = padding[0], padding[2]
    back = torch.eye(3, dtype=shift.dtype, device=shift.device)
    back[0, 2], back[1, 2] = -padding[0], -padding[2]
    moved = product(shift, neighbours.projections)
    return neighbours._replace(projections=torch.cat([product(moved[..., :3], back), moved[..., 3:]], dim=-1))


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
