"""A second, finer cost volume about the first answer.

Planes of the first volume are the same for all pixels and far apart: what they say of a surface that is seen at a slant is spread
over many of them. Depths relative to the first answer follow its surface, so that evidence can be gathered over wide
neighbourhoods of the same depth, as with the slanted windows of PatchMatch stereo (Bleyer et al., BMVC 2011); and they are few
(the cascade of Gu et al., CVPR 2020). Besides the learned features it compares small patches
of the images at half their size: gathered so widely, they show depth more exactly than features of a quarter. The answer is
brought to the size of the heads as a mean of its neighbours with learned weights, so that it does not blur over the borders of
things (the convex upsampling of RAFT, Teed and Deng, ECCV 2020).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2h.model.blocks import resize
from m2h.model.cross_view import MATCHING_STRIDE, Neighbours, matching_volume
from m2h.model.hints import log_of
from m2h.model.plane_filter import Moments

DEPTHS = 12
"""Depths of a pixel in the fine volume."""
STEP = 0.02
"""Difference of log depth from one to the next."""
INITIAL_SHARPNESS = (40.0, 60.0)
"""Logits of a depth per unit of its gathered cosine at first: that of features, and of patches."""
FLAT = 0.06
"""Deviation of a patch's values, in those of the images' standard deviation, below which it says little."""
WINDOW = 7
"""Side in pixels of the mean, taken twice, that gathers the volume."""
WIDTHS = (32, 48, 64)
"""Channels of the three levels of the filter, each half as fine as the one before."""
SPREAD = 2
"""Maps that say how sure the first answer is: deviation of log depth, and the probability of the likeliest plane."""
WEIGHTS = 9
"""Neighbours in a coarse map of which a pixel of the doubled one is a mean."""


class Matched(NamedTuple):
    """What the fine volume compares: the image's features [B, C, h, w] and patches [B, PATCH, h, w], and the neighbours, once
    with their features as `views` and once with their patches [B, N, PATCH, 2h, 2w]."""

    features: Tensor
    patches: Tensor
    neighbours: Neighbours
    patched: Neighbours

    @classmethod
    def of(cls, features: Tensor, patches: Tensor, kept: Neighbours) -> Matched:
        """From neighbours with `views` [B, N, C + 4 PATCH, h, w] as `M2H.match` gives them."""
        channels = features.shape[1]
        unpacked = F.pixel_shuffle(kept.views[:, :, channels:].flatten(0, 1), 2)
        return cls(
            features,
            patches,
            kept._replace(views=kept.views[:, :, :channels]),
            kept._replace(views=torch.unflatten(unpacked, 0, kept.views.shape[:2])),
        )


class FineVolume(NamedTuple):
    """What the fine volume says: what to add to log depth and to the logarithm of its error [B, 1, h, w], and the logits
    [B, DEPTHS, h, w] of the log depths that it compared, of the same shape."""

    shift: Tensor
    worse: Tensor
    logits: Tensor
    log_depths: Tensor


class FineMatching(nn.Module):
    """The place of a pixel's point among a few depths about what is known of it already."""

    offsets: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        offsets = (torch.arange(DEPTHS) - (DEPTHS - 1) / 2) * STEP
        self.register_buffer("offsets", offsets.view(1, -1, 1, 1), persistent=False)
        self.log_sharpness = nn.Parameter(torch.log(torch.tensor(INITIAL_SHARPNESS)))
        self.first = nn.Conv2d(channels + 5 * DEPTHS + 1 + SPREAD, fine, 3, padding=1)
        self.down = nn.ModuleList(
            [nn.Conv2d(fine, middle, 3, stride=2, padding=1), nn.Conv2d(middle, coarse, 3, stride=2, padding=1)]
        )
        self.coarse = nn.Conv2d(coarse, coarse, 3, padding=1)
        self.up = nn.ModuleList([nn.Conv2d(coarse, middle, 1), nn.Conv2d(middle, fine, 1)])
        self.after = nn.ModuleList([nn.Conv2d(middle, middle, 3, padding=1), nn.Conv2d(fine, fine, 3, padding=1)])
        self.out = nn.Conv2d(fine, DEPTHS + 1, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, matched: Matched, log_depth: Tensor, context: Tensor, hint: Tensor, spread: Tensor) -> FineVolume:
        """Log depth [B, 1, h, w], the decoder's features [B, C, h, w], hint [B, 2, h, w] (canonical depth, 0 unknown; confidence)
        and spread [B, SPREAD, h, w] of the first answer, to what they and the neighbours say together."""
        log_depths = log_depth.detach() + self.offsets
        inverse_depths = torch.exp(-log_depths).flatten(2)
        by_features, seen = matching_volume(matched.features, matched.neighbours, inverse_depths, MATCHING_STRIDE)
        by_patches, _ = matching_volume(matched.patches, matched.patched, inverse_depths, MATCHING_STRIDE)
        volume = torch.cat([by_features, by_patches], dim=1)
        depth, confidence = hint.chunk(2, dim=1)
        hinted = confidence * torch.exp(-0.5 * ((log_depths - log_of(depth)) / STEP).square())
        gathered = _mean(_mean(volume))
        known = torch.cat([context, volume, gathered, hinted, seen.mean(dim=1, keepdim=True), spread], dim=1)
        # An image without neighbours, next to others that have some, keeps its first answer.
        judged = matched.neighbours.valid.any(dim=1).to(volume.dtype).view(-1, 1, 1, 1)
        mixed = judged * self._filtered(known)
        sharpness = torch.exp(self.log_sharpness)
        logits = sharpness[0] * gathered[:, :DEPTHS] + sharpness[1] * gathered[:, DEPTHS:] + mixed[:, :DEPTHS]
        shift = (logits.softmax(dim=1) * self.offsets).sum(dim=1, keepdim=True)
        return FineVolume(shift, mixed[:, DEPTHS:], logits, log_depths)

    def _filtered(self, known: Tensor) -> Tensor:
        fine = F.relu(self.first(known))
        middle = F.relu(self.down[0](fine))
        coarse = F.relu(self.coarse(F.relu(self.down[1](middle))))
        middle = F.relu(middle + resize(self.up[0](coarse), middle.shape[-2:]))
        middle = F.relu(self.after[0](middle))
        fine = F.relu(fine + resize(self.up[1](middle), fine.shape[-2:]))
        filtered: Tensor = self.out(F.relu(self.after[1](fine)))
        return filtered


def packed_patches(images: Tensor) -> Tensor:
    """The patches about all pixels of images [B, 3, H, W] at half their size, four pixels as one: [B, 4 PATCH, H/4, W/4]."""
    return F.pixel_unshuffle(_patches(F.avg_pool2d(images.mean(dim=1, keepdim=True), 2)), 2)


def central_patches(images: Tensor) -> Tensor:
    """The patches about the centres of squares of four by four pixels of images [B, 3, H, W]: [B, PATCH, H/4, W/4]."""
    # A mean of two by two pixels, the first of them the second of the image, lies on the centre of a square of four.
    moved = F.pad(images.mean(dim=1, keepdim=True), (0, 1, 0, 1), mode="replicate")[..., 1:, 1:]
    return _patches(F.avg_pool2d(moved, 2))[..., ::2, ::2]


def _patches(grey: Tensor) -> Tensor:
    """Vectors [B, PATCH, h, w] of the three by three values about each pixel of [B, 1, h, w], less their mean, of length one but
    where they are flat: their products are normalised cross-correlations where there is something to correlate."""
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    values = F.conv2d(padded, _patch_basis(grey))
    return values / (values.square().sum(dim=1, keepdim=True).sqrt() + FLAT)


def _patch_basis(like: Tensor) -> Tensor:
    """Kernels [PATCH, 1, 3, 3]: an orthonormal basis (a cosine transform) of the patches without mean."""
    one = like.new_tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    one = one / one.square().sum(dim=1, keepdim=True).sqrt()
    return torch.einsum("ay,bx->abyx", one, one).reshape(9, 1, 3, 3)[1:]


def _mean(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)


def spread_of(found: Moments) -> Tensor:
    """The maps of SPREAD [B, 2, h, w] of the first answer."""
    return torch.cat([found.deviation / (DEPTHS * STEP), found.largest], dim=1)


def doubled(x: Tensor, weights: Tensor) -> Tensor:
    """A map [B, 1, h, w] at twice the size, each pixel a mean of the nine about it; `weights` [B, 9, 2h, 2w] are logits to be
    added to those of a bilinear doubling."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    around = torch.cat([padded[..., k // 3 : k // 3 + height, k % 3 : k % 3 + width] for k in range(WEIGHTS)], dim=1)
    around = F.interpolate(around, scale_factor=2, mode="nearest")
    return ((weights + _bilinear_logits(height, width, weights)).softmax(dim=1) * around).sum(dim=1, keepdim=True)


def _bilinear_logits(height: int, width: int, like: Tensor) -> Tensor:
    """Logits [1, 9, 2h, 2w] of the weights that a bilinear doubling gives the nine pixels about each."""
    # An even pixel lies a quarter before the middle of its coarse one, an odd one a quarter behind it.
    one = like.new_tensor([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])
    both = torch.einsum("ya,xb->abyx", one, one).reshape(1, WEIGHTS, 2, 2)
    return torch.log(both + 1e-3).repeat(1, 1, height, width)
