"""The second, finer cost volume: where it places a point, what it leaves alone, and the doubling of the first answer."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from m2h.config import PATCH, M2HConfig
from m2h.model import Neighbours, build_model
from m2h.model.cascade import (
    DEPTHS,
    STEP,
    WEIGHTS,
    FineMatching,
    Matched,
    central_patches,
    doubled,
    packed_patches,
    spread_of,
)
from m2h.model.plane_filter import moments

HEIGHT, WIDTH, MARGIN = 96, 256, 64
FOCAL, BASELINE, DEPTH = 150.0, 0.32, 2.0
"""Pixels of the image and metres: at 2 m the picture of the second camera is moved by 24 pixels."""


def wall(farther_left: float) -> Tensor:
    """An image [1, 3, H, W] of a wall with a smooth random pattern, seen so many pixels farther left."""
    noise = torch.randn(1, 3, HEIGHT, WIDTH + 2 * MARGIN, generator=torch.Generator().manual_seed(0))
    smooth = F.avg_pool2d(noise, 5, stride=1, padding=2)
    first = MARGIN + round(farther_left)
    return 4 * smooth[..., first : first + WIDTH]


def matched(*, features: bool, valid: bool = True) -> Matched:
    """The wall 2 m ahead and a second camera to the right of the first, compared by patches, and by features too or not."""
    own, other = wall(0), wall(FOCAL * BASELINE / DEPTH)
    projections = torch.eye(3, 4)[None, None].clone()
    projections[..., 0, 3] = -FOCAL * BASELINE
    alike = [F.normalize(F.avg_pool2d(image, 4), dim=1) * float(features) for image in (own, other)]
    kept = torch.cat([alike[1], packed_patches(other)], dim=1)
    return Matched.of(alike[0], central_patches(own), Neighbours(kept[:, None], projections, torch.full((1, 1), valid)))


def shift_of(wrong: float, given: Matched) -> Tensor:
    """The shift of log depth that an untrained matching gives a first answer that is `wrong` by so much, where both see it."""
    torch.manual_seed(0)
    matching = FineMatching(4)
    size = (1, 1, HEIGHT // 4, WIDTH // 4)
    log_depth = torch.full(size, math.log(DEPTH) + wrong)
    zeros = torch.zeros(1, 4, *size[2:])
    with torch.no_grad():
        found = matching(given, log_depth, zeros, zeros[:, :2], zeros[:, :2])
    return found.shift[..., 2:-2, 8:-2]


@pytest.mark.parametrize("wrong", [-0.07, -0.02, 0.0, 0.06])
@pytest.mark.parametrize("features", [True, False])
def test_the_fine_volume_corrects_what_the_first_answer_missed(wrong: float, features: bool) -> None:
    left = shift_of(wrong, matched(features=features)) + wrong
    assert abs(float(left.mean())) < 0.01
    assert float((left.abs() < STEP).float().mean()) > 0.9


def test_an_image_without_neighbours_keeps_its_first_answer() -> None:
    alone = matched(features=True, valid=False)
    assert float(shift_of(0.05, alone).abs().max()) < 1e-6


def test_patches_are_unit_vectors_about_the_same_places_and_flat_ones_are_short() -> None:
    image = wall(0)
    whole = F.pixel_shuffle(packed_patches(image), 2)
    assert whole.shape == (1, PATCH, HEIGHT // 2, WIDTH // 2)
    length = whole.square().sum(dim=1).sqrt()
    assert float(length.max()) < 1
    assert float(length.median()) > 0.9
    central = central_patches(image)
    assert central.shape == (1, PATCH, HEIGHT // 4, WIDTH // 4)
    # The centre of a square of four pixels lies between four patches of half the size: each is as like it as the others.
    alike = [float((central * whole[..., row::2, column::2]).sum(dim=1).mean()) for row in (0, 1) for column in (0, 1)]
    assert min(alike) > 0.4
    assert max(alike) - min(alike) < 0.03
    assert float(packed_patches(torch.full((1, 3, 16, 16), 0.7)).abs().max()) < 1e-6


def test_what_is_kept_of_a_frame_gives_the_same_depth_as_its_image() -> None:
    config = M2HConfig.cross(classes=14)
    assert config.cross_view is not None
    torch.manual_seed(0)
    model = build_model(config).eval()
    images = F.interpolate(torch.rand(4, 3, 16, 24), scale_factor=4, mode="bilinear")
    projections = torch.eye(3, 4).repeat(1, 3, 1, 1)
    projections[..., 0, 3] = -20.0
    valid = torch.ones(1, 3, dtype=torch.bool)
    with torch.no_grad():
        kept = model.match(images[1:])
        assert kept.shape[1] == config.cross_view.kept_channels
        by_images = model(images[:1], Neighbours(images[None, 1:], projections, valid))["depth"]
        by_kept = model(images[:1], Neighbours(kept[None], projections, valid))["depth"]
        other_patches = torch.cat([kept[:, :16], kept[:, 16:].flip(-1)], dim=1)
        changed = model(images[:1], Neighbours(other_patches[None], projections, valid))["depth"]
    torch.testing.assert_close(by_kept, by_images, rtol=1e-4, atol=1e-5)
    assert float((changed / by_images - 1).abs().max()) > 1e-4


def test_doubling_is_bilinear_until_weights_say_otherwise() -> None:
    coarse = torch.rand(2, 1, 5, 7, generator=torch.Generator().manual_seed(1))
    plain = doubled(coarse, torch.zeros(2, WEIGHTS, 10, 14))
    torch.testing.assert_close(
        plain, F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False), rtol=0, atol=0.01
    )
    # All weight on the coarse pixel to the left: columns of it, each twice, the first repeated at the border.
    weights = torch.zeros(2, WEIGHTS, 10, 14)
    weights[:, 3] = 50.0
    left = torch.cat([coarse[..., :1], coarse[..., :-1]], dim=-1)
    expected = left.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
    torch.testing.assert_close(doubled(coarse, weights), expected, rtol=0, atol=1e-4)


def test_a_clear_peak_has_no_spread() -> None:
    log_depths = torch.linspace(0.0, 1.5, 16).view(1, -1, 1, 1)
    logits = torch.zeros(1, 16, 2, 2)
    logits[:, 4, 0] = 40.0
    deviation, peak = spread_of(moments(logits, log_depths))[0]
    assert float(deviation[0].max()) < 0.01
    assert float(peak[0].min()) > 0.99
    even = float(torch.sqrt((log_depths - 0.75).square().mean())) / (DEPTHS * STEP)
    torch.testing.assert_close(deviation[1], torch.full((2,), even))
    torch.testing.assert_close(peak[1], torch.full((2,), 1 / 16))
