"""Winograd's convolutions against plain ones in double."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from network_helpers import relative_error

from m2h.model.blocks import make_conv
from m2h.model.winograd import Conv3x3, winograd_conv, winograd_pays


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 4, 4), (2, 17, 30), (1, 5, 700), (1, 129, 9)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_agrees_with_the_plain_sum(size: tuple[int, int, int], with_bias: bool) -> None:
    batch, height, width = size
    x, weight = noise(batch, 24, height, width), noise(40, 24, 3, 3)
    bias = noise(40) if with_bias else None
    expected = F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), padding=1)
    actual = winograd_conv(x.contiguous(memory_format=torch.channels_last), weight, bias)
    assert actual.shape == expected.shape
    assert relative_error(actual.double(), expected) < 3e-5


def test_a_wide_layer_takes_it_and_stays_a_plain_one_in_training() -> None:
    torch.set_num_threads(2)
    layer, x = make_conv(256, 256, 3, bias=True, separable=False), noise(1, 256, 64, 68)
    assert isinstance(layer, Conv3x3)
    trained = layer(x)
    assert trained.requires_grad
    with torch.inference_mode():
        assert winograd_pays(x, layer)
        assert relative_error(layer(x), trained.detach()) < 3e-5
        layer.weight += 1
        assert relative_error(layer(x), trained.detach()) > 1  # nothing of the old weights is kept


def test_where_it_does_not_pay() -> None:
    layer, x = Conv3x3(256, 256, bias=False), noise(1, 256, 64, 64)
    assert not winograd_pays(x, layer)  # with gradients
    with torch.inference_mode():
        assert not winograd_pays(x[:, :, :32, :32], layer)
        assert not winograd_pays(x.double(), layer)
        assert not winograd_pays(x, Conv3x3(256, 256, bias=False, dilation=6))
        assert not winograd_pays(x, Conv3x3(256, 128, bias=False))
        with torch.autocast("cpu", torch.bfloat16):
            assert not winograd_pays(x, layer)
