"""Training losses of the four tasks, and two that tie tasks together.

The formulas of the paper's own loss terms are not public. What stands here is the field's practice (MTI-Net, InvPT, MTMamba++ for
the tasks, with their constants) and our own forms of the two consistency terms that the paper names.

All functions are pure: predictions and targets in, one scalar out, mean over what is known; nothing known gives 0 with zero
gradient. Targets: depth [B, 1, H, W] metres with 0 unknown; labels [B, H, W] int64 with 0 unknown; normals [B, 3, H, W] unit with
zero vectors unknown; edges [B, 1, H, W] in [0, 1] with negative values unknown; cameras [B, 4] (fx, fy, cx, cy) in pixels of
the maps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from m2h.model.blocks import normalize_vectors

UNKNOWN_LABEL = 0


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LossConfig:
    """Which terms are used and what each weighs before any dynamic weighting; 0 leaves a term out."""

    depth: float = 1.0
    """Weight of the depth term."""
    depth_kind: Literal["l1", "log", "silog", "berhu"] = "l1"
    """Form of the depth term."""
    silog_variance: float = 0.85
    """How much of the common scale error SILog forgives, 0 to 1."""
    depth_gradient: float = 0.5
    """Weight of the difference of log-depth gradients over four scales."""
    depth_planes: float = 0.0
    """Weight of the cross-entropy of the planes of the cost volume, and of what matching alone says of them."""
    depth_fine: float = 0.0
    """Weight of the cross-entropy of the depths of the fine volume."""
    depth_error: float = 0.0
    """Weight of the likelihood of the predicted scale of the depth error."""
    semantics: float = 1.0
    """Weight of the cross-entropy of the labels."""
    semantics_focus: float = 0.0
    """How much less pixels count whose label is sure already: the exponent of the focal loss."""
    normals: float = 10.0
    """Weight of the normals' L1 difference."""
    edges: float = 50.0
    """Weight of the edges' cross-entropy."""
    edge_positive: float = 0.95
    """Share of the weight that edge pixels get against the others, which are far more."""
    depth_normal: float = 1.0
    """Weight of the disagreement between predicted normals and those of the predicted depth."""
    edge_semantic: float = 1.0
    """Weight of class boundaries that the predicted edges do not know."""

    def __post_init__(self) -> None:
        for name in (*TERMS, "silog_variance", "semantics_focus"):
            if getattr(self, name) < 0:
                raise ValueError(f"LossConfig.{name} must not be negative, got {getattr(self, name)}")
        if not 0 < self.edge_positive < 1 or self.silog_variance > 1:
            raise ValueError("LossConfig.edge_positive must lie between 0 and 1, and silog_variance not above 1")


TERMS = (
    "depth",
    "depth_gradient",
    "depth_planes",
    "depth_fine",
    "depth_error",
    "semantics",
    "normals",
    "edges",
    "depth_normal",
    "edge_semantic",
)
"""Names of the terms, which are also the names of their weights."""


def compute_losses(
    outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], config: LossConfig
) -> dict[str, Tensor]:
    """Each term that has a weight, its prediction and its target, times that weight, by name in the order of TERMS."""
    has = {name for name in outputs if name in targets or (name.startswith("depth_") and "depth" in targets)}
    terms: dict[str, Tensor] = {}
    for name in TERMS:
        weight, (needs, compute) = float(getattr(config, name)), _TERMS[name]
        if weight > 0 and needs <= has and (name != "depth_normal" or "camera" in targets):
            terms[name] = weight * compute(outputs, targets, config)
    return terms


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask (same shape) is true; 0 where it is true nowhere."""
    return torch.where(mask, values, torch.zeros_like(values)).sum() / mask.sum().clamp_min(1)


def depth_loss(depth: Tensor, target: Tensor, config: LossConfig) -> Tensor:
    """The depth term of the configured kind."""
    if config.depth_kind == "log":
        return log_loss(depth, target)
    if config.depth_kind == "silog":
        return silog_loss(depth, target, config.silog_variance)
    return berhu_loss(depth, target) if config.depth_kind == "berhu" else l1_loss(depth, target)


def l1_loss(depth: Tensor, target: Tensor) -> Tensor:
    """Mean |d - t| in metres (MTI-Net, InvPT, MTMamba++)."""
    return masked_mean((depth - target).abs(), target > 0)


def log_loss(depth: Tensor, target: Tensor) -> Tensor:
    """Mean |ln d - ln t|."""
    return masked_mean((_log(depth) - _log(target)).abs(), target > 0)


def planes_loss(logits: Tensor, log_depths: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of plane logits [B, K, D, h, w] (of K sorts of evidence) against the two planes about the true depth.

    `log_depths` [1, D, 1, 1] or [B, D, h, w] are those of the planes, evenly spaced; depth up to one step beyond them counts as
    that of the nearest. The target [B, 1, H, W] is taken at its nearest pixels.
    Matching counts where it says anything: where it prefers some plane.
    """
    small = F.interpolate(target, logits.shape[-2:], mode="nearest-exact")
    last, step = logits.shape[2] - 1, log_depths[:, 1:2] - log_depths[:, :1]
    place = (_log(small) - log_depths[:, :1]) / step
    known = (small > 0) & (place > -1) & (place < last + 1)
    place = place.clamp(0, last)
    below = place.floor().clamp(max=last - 1).long()
    share = place - below
    total = logits.new_zeros(())
    for part in logits.unbind(dim=1):
        log = part.log_softmax(dim=1)
        loss = -(log.gather(1, below) * (1 - share) + log.gather(1, below + 1) * share)
        said = part.detach().amax(dim=1, keepdim=True) > part.detach().amin(dim=1, keepdim=True)
        total = total + masked_mean(loss, known & said)
    return total


def depth_error_loss(log_scale: Tensor, depth: Tensor, target: Tensor) -> Tensor:
    """Negative log likelihood of |ln d - ln t| under a Laplace distribution of scale exp(`log_scale`), without its constant.

    No gradient reaches the depth: its own loss decides how much each pixel counts (the likelihood is that of Kendall and Gal,
    NeurIPS 2017).
    """
    error = (_log(depth.detach()) - _log(target)).abs()
    return masked_mean(error * torch.exp(-log_scale) + log_scale, target > 0)


def berhu_loss(depth: Tensor, target: Tensor, share: float = 0.2) -> Tensor:
    """Reverse Huber (Laina et al., 3DV 2016): |x| up to c, (x^2 + c^2) / (2c) beyond, c a share of the batch's largest error."""
    known = target > 0
    error = torch.where(known, (depth - target).abs(), torch.zeros_like(depth))
    c = (share * error.detach().max()).clamp_min(1e-6)
    return masked_mean(torch.where(error <= c, error, (error.square() + c * c) / (2 * c)), known)


def silog_loss(depth: Tensor, target: Tensor, variance: float) -> Tensor:
    """sqrt(mean(g^2) - variance * mean(g)^2), g = ln d - ln t (Eigen et al., NeurIPS 2014, under a root)."""
    known = target > 0
    g = torch.where(known, _log(depth) - _log(target), torch.zeros_like(depth))
    first, second = masked_mean(g, known), masked_mean(g.square(), known)
    # The floor keeps the root's slope finite at a perfect prediction, which then costs exactly 0.
    return torch.sqrt((second - variance * first.square()).clamp_min(1e-8)) - 1e-4


def depth_gradient_loss(depth: Tensor, target: Tensor, scales: int = 4) -> Tensor:
    """Mean |grad(ln d - ln t)| over both axes and `scales` subsamplings by 2 (MiDaS, TPAMI 2020, on metric depth)."""
    difference, known = _log(depth) - _log(target), target > 0
    total = depth.new_zeros(())
    for scale in range(scales):
        step = 2**scale
        d, k = difference[..., ::step, ::step], known[..., ::step, ::step]
        total = total + masked_mean((d[..., 1:] - d[..., :-1]).abs(), k[..., 1:] & k[..., :-1])
        total = total + masked_mean((d[..., 1:, :] - d[..., :-1, :]).abs(), k[..., 1:, :] & k[..., :-1, :])
    return total / (2 * scales)


def semantic_loss(logits: Tensor, labels: Tensor, focus: float = 0.0) -> Tensor:
    """Cross-entropy of logits [B, C, H, W] over pixels whose label is known, each times (1 - p)^`focus`, p being the probability
    of its label: the focal loss (Lin et al., ICCV 2017), so that what is easy, such as walls, does not outweigh the rest."""
    losses = F.cross_entropy(logits, labels, ignore_index=UNKNOWN_LABEL, reduction="none")
    if focus:
        losses = losses * (1 - torch.exp(-losses)).clamp_min(1e-6).pow(focus)
    return losses.sum() / (labels != UNKNOWN_LABEL).sum().clamp_min(1)


def normal_loss(normals: Tensor, target: Tensor) -> Tensor:
    """|n - t| summed over the three components of the normalised prediction, mean over pixels (MTI-Net, MTMamba++)."""
    difference = (normalize_vectors(normals) - target).abs().sum(dim=1, keepdim=True)
    return masked_mean(difference, target.abs().sum(dim=1, keepdim=True) > 0)


def edge_loss(logits: Tensor, target: Tensor, positive: float) -> Tensor:
    """Cross-entropy, `positive` times that of edge pixels plus (1 - `positive`) times that of the others."""
    pixel = positive * target * F.softplus(-logits) + (1 - positive) * (1 - target) * F.softplus(logits)
    return masked_mean(pixel, target >= 0)


def depth_normal_loss(depth: Tensor, normals: Tensor, camera: Tensor, smooth: Tensor) -> Tensor:
    """1 - cosine between predicted normals and the normals of the predicted depth, over `smooth` pixels (mask [B, 1, H, W]).

    Our own form of the paper's depth-normal consistency; pixels with a neighbour that is not smooth are ignored too.
    """
    inner = normals_of_depth(depth, camera)
    cosine = (inner * normalize_vectors(normals)[..., 1:-1, 1:-1]).sum(dim=1, keepdim=True)
    eroded = -F.max_pool2d(-smooth.float(), 3, stride=1)
    return masked_mean(1 - cosine, eroded > 0)


def normals_of_depth(depth: Tensor, camera: Tensor) -> Tensor:
    """Normals [B, 3, H-2, W-2] of the inner pixels of a depth map, towards the camera, from central differences of its points."""
    height, width = depth.shape[-2:]
    fx, fy, cx, cy = (value.view(-1, 1, 1, 1) for value in camera.unbind(dim=1))
    u = torch.arange(width, device=depth.device, dtype=depth.dtype).view(1, 1, 1, -1)
    v = torch.arange(height, device=depth.device, dtype=depth.dtype).view(1, 1, -1, 1)
    points = torch.cat([depth * (u - cx) / fx, depth * (v - cy) / fy, depth], dim=1)
    along_u = (points[..., 2:] - points[..., :-2])[..., 1:-1, :]
    along_v = (points[..., 2:, :] - points[..., :-2, :])[..., 1:-1]
    return normalize_vectors(torch.linalg.cross(along_v, along_u, dim=1))


def edge_semantic_loss(edge_logits: Tensor, class_logits: Tensor, labels: Tensor) -> Tensor:
    """How much class boundary the predicted edges miss: mean of boundary * (1 - edge probability) over known pixels.

    Boundary strength, in [0, 1], is the largest difference between a 3x3 neighbourhood's maximum and minimum over the class
    probabilities. Our own form of the paper's edge-semantic consistency, one-sided because edges within a class are right.
    """
    p = class_logits.softmax(dim=1)
    boundary = (_of_neighbours(p, torch.maximum) - _of_neighbours(p, torch.minimum)).amax(dim=1, keepdim=True)
    return masked_mean(boundary * torch.sigmoid(-edge_logits), (labels != UNKNOWN_LABEL).unsqueeze(1))


def _of_neighbours(x: Tensor, extreme: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The extreme of each pixel's 3x3 neighbourhood within the map; on a CPU several times as fast as max pooling."""
    for dim in (-1, -2):
        if x.shape[dim] > 1:
            count = x.shape[dim] - 1
            pairs = extreme(x.narrow(dim, 0, count), x.narrow(dim, 1, count))
            inner = extreme(pairs.narrow(dim, 0, count - 1), pairs.narrow(dim, 1, count - 1))
            x = torch.cat([pairs.narrow(dim, 0, 1), inner, pairs.narrow(dim, count - 1, 1)], dim=dim)
    return x


def _log(depth: Tensor) -> Tensor:
    return torch.log(depth.clamp_min(1e-3))


_Maps: TypeAlias = Mapping[str, Tensor]


def _depth_normal(outputs: _Maps, targets: _Maps, _: LossConfig) -> Tensor:
    smooth = (targets["edges"] >= 0) & (targets["edges"] < 0.5) & (targets["depth"] > 0)
    return depth_normal_loss(outputs["depth"], outputs["normals"], targets["camera"], smooth)


_TERMS: dict[str, tuple[set[str], Callable[[_Maps, _Maps, LossConfig], Tensor]]] = {
    "depth": ({"depth"}, lambda o, t, c: depth_loss(o["depth"], t["depth"], c)),
    "depth_gradient": ({"depth"}, lambda o, t, _: depth_gradient_loss(o["depth"], t["depth"])),
    "depth_planes": (
        {"depth_planes"},
        lambda o, t, _: planes_loss(o["depth_planes"], o["depth_plane_logs"], t["depth"]),
    ),
    "depth_fine": (
        {"depth_fine"},
        lambda o, t, _: planes_loss(o["depth_fine"], o["depth_fine_logs"], t["depth"]),
    ),
    "depth_error": ({"depth_error"}, lambda o, t, _: depth_error_loss(o["depth_error"], o["depth"], t["depth"])),
    "semantics": ({"semantics"}, lambda o, t, c: semantic_loss(o["semantics"], t["semantics"], c.semantics_focus)),
    "normals": ({"normals"}, lambda o, t, _: normal_loss(o["normals"], t["normals"])),
    "edges": ({"edges"}, lambda o, t, c: edge_loss(o["edges"], t["edges"], c.edge_positive)),
    "depth_normal": ({"depth", "normals", "edges"}, _depth_normal),
    "edge_semantic": (
        {"edges", "semantics"},
        lambda o, t, _: edge_semantic_loss(o["edges"], o["semantics"], t["semantics"]),
    ),
}
"""By term: the tasks it needs, and the term itself, before its weight."""
