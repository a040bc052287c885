"""Planes of depth: convolutions over them, what a hint says of them, and the filter of the cost volume."""

from __future__ import annotations

import numpy as np
import torch

from m2h.config import CrossViewConfig
from m2h.model.plane_filter import PlaneConv, PlaneFilter


def test_convolutions_over_planes_are_those_of_three_dimensions() -> None:
    torch.manual_seed(0)
    for stride in (1, 2):
        planes = PlaneConv(3, 5, stride)
        stacked = planes.conv.weight.detach().view(5, 3, 3, 3, 3)  # [C', plane, C, row, column]
        weight = stacked.transpose(1, 2)
        x = torch.randn(2, 8, 3, 12, 16)
        expected = torch.nn.functional.conv3d(x.transpose(1, 2), weight, planes.conv.bias, stride=stride, padding=1)
        torch.testing.assert_close(planes(x), expected.transpose(1, 2), rtol=1e-4, atol=1e-5)


def test_the_filter_starts_from_the_volume_and_sums_it_up() -> None:
    """Untrained it changes nothing, and the summary of a volume with one peak is the depth of that peak."""
    config = CrossViewConfig(channels=4, planes=16, near=0.5, far=8.0)
    planes = PlaneFilter(config, 6)
    volume = torch.zeros(1, 16, 8, 12)
    volume[:, 5] = 3.0
    with torch.no_grad():
        logits = planes(volume, torch.ones_like(volume), torch.zeros_like(volume), torch.rand(1, 6, 4, 6))
        mean, deviation, peak = planes.summary(logits)[0]
    torch.testing.assert_close(logits, 10 * volume)
    depth = 0.5 * 16 ** (5 / 15)
    torch.testing.assert_close(torch.exp(mean) * 2.0, torch.full((8, 12), depth))
    assert float(deviation.max()) < 0.01
    assert float(peak.min()) > 0.99


def test_a_hint_moves_the_filter_at_its_plane_alone() -> None:
    config = CrossViewConfig(channels=4, planes=16, near=0.5, far=8.0)
    hint = torch.zeros(1, 2, 8, 12)
    hint[:, 0, :4], hint[:, 1, :4] = 2.1, 0.7
    bumps = PlaneFilter(config, 6).hinted_planes(hint)
    assert float(bumps[:, :, 4:].max()) == 0
    place = 15 * np.log(2.1 / 0.5) / np.log(16)
    assert int(bumps[0, :, 0, 0].argmax()) == round(place)
    assert float(bumps.max()) <= 0.7
