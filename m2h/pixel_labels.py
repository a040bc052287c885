"""Which class is named at a pixel: the likeliest, a broader one where classes of one group compete, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from m2h.dithering import dither_pattern


class PixelLabels(NamedTuple):
    """Of each pixel [B, H, W] the probability of what is named, the number of what is named, 0 for nothing, and a class that is
    sampled with the probabilities of all of them: its share among many pixels of a thing is its mean probability there."""

    confidence: Tensor
    labels: Tensor
    sampled: Tensor


def most_likely(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Probability and number of the most likely class, the first of equals: logits [B, C, H, W] to two [B, H, W].

    The same as the maximum of a softmax, in half the time: on a CPU a maximum that keeps positions runs number by number.
    """
    top = logits.amax(dim=1, keepdim=True)
    return 1 / (logits - top).exp_().sum(dim=1), _first((logits == top).transpose(0, 1))


def labels_of_pixels(logits: Tensor, broader: Sequence[int] | None, threshold: float) -> PixelLabels:
    """Labels with their probabilities, of logits [B, C, H, W].

    `broader` gives for each class the one that stands for its group; without it each class is alone. The likeliest group
    decides: its likeliest class is the name where that is as probable as `threshold`, the class that stands for the group where
    the group is, otherwise there is none. So desk and table of 0.4 each are a table. The probability is that of what is named,
    and the group's where nothing is. Classes are sampled by `dither_pattern`, so the same in every run.
    """
    if logits.device.type == "cpu":
        from m2h.pixel_labels_kernel import labels_on_cpu

        return PixelLabels(*labels_on_cpu(logits, broader, threshold))
    return labels_by_maps(logits, broader, threshold)


def labels_by_maps(logits: Tensor, broader: Sequence[int] | None, threshold: float) -> PixelLabels:
    """The same by operations on whole maps, for other devices."""
    confidence, labels = most_likely(logits)
    sampled = _sampled(logits)
    if broader is None:
        return PixelLabels(confidence, torch.where(confidence >= threshold, labels, 0), sampled)
    # A class of more than half of the probability has the likeliest group, too: the rest is asked for the doubtful pixels alone.
    doubtful = confidence < max(threshold, 0.5)
    if doubtful.any():
        odds = logits.transpose(0, 1)[:, doubtful].softmax(dim=0)
        confidence[doubtful], labels[doubtful] = _labels_by_group(odds, broader, threshold)
    return PixelLabels(confidence, labels, sampled)


def _sampled(logits: Tensor) -> Tensor:
    """A class [B, H, W] of logits [B, C, H, W]: the first at which the sum of the probabilities passes the pixel's number."""
    numbers = torch.from_numpy(dither_pattern((logits.shape[2], logits.shape[3]))).to(logits.device)
    passed = logits.float().softmax(dim=1).cumsum(dim=1) <= numbers
    return passed.sum(dim=1).clamp_max(logits.shape[1] - 1)


def _labels_by_group(odds: Tensor, broader: Sequence[int], threshold: float) -> tuple[Tensor, Tensor]:
    """`labels_of_pixels` of probabilities [C, N]: two [N]."""
    groups = sorted(set(broader))
    members = odds.new_tensor([[each == group for each in broader] for group in groups])
    sums = members @ odds
    group_share = sums.amax(dim=0)
    best = _first(sums == group_share)
    inside = odds * members.T[:, best]
    share = inside.amax(dim=0)
    label = _first((inside == share) & (inside > 0))
    unsure = torch.where(group_share >= threshold, best.new_tensor(groups)[best], 0)
    sure = share >= threshold
    return torch.where(sure, share, group_share), torch.where(sure, label, unsure)


def _first(chosen: Tensor) -> Tensor:
    """The number of the first channel that is true, [C, ...] to [...] int64."""
    count = len(chosen)
    ranks = torch.arange(count, 0, -1, dtype=torch.uint8 if count < 256 else torch.int32, device=chosen.device)
    return (count - (chosen * ranks.view(-1, *[1] * (chosen.dim() - 1))).amax(dim=0)).long()
