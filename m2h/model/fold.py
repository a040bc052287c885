"""A copy of a network for inference, with everything constant worked out beforehand."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from m2h.model.blocks import ConvNorm, SeparableConv2d
from m2h.model.network import M2H


@torch.no_grad()
def prepare_for_inference(model: M2H) -> M2H:
    """A copy in evaluation mode that gives the same outputs (to rounding) with less work.

    Batch norms are folded into their convolutions, and depthwise-separable 1x1 convolutions become one. The copy cannot be
    trained and its state dict no longer has the published layout; the given model stays as it is.
    """
    model = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    for module in model.modules():
        if isinstance(module, ConvNorm):
            _fold_norm(module)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, SeparableConv2d) and child.depthwise.kernel_size == (1, 1):
                setattr(module, name, _merge_pointwise(child))
    return model.to(memory_format=torch.channels_last)


def _fold_norm(module: ConvNorm) -> None:
    """Scale and shift of the (evaluation) batch norm go into the convolution's weights and bias."""
    norm = module.norm
    if not isinstance(norm, nn.BatchNorm2d):
        return
    assert norm.running_mean is not None
    assert norm.running_var is not None
    conv = module.conv.pointwise if isinstance(module.conv, SeparableConv2d) else module.conv
    assert isinstance(conv, nn.Conv2d)
    scale = (norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)).to(norm.weight.dtype)
    bias = norm.running_mean.new_zeros(()) if conv.bias is None else conv.bias
    conv.weight = _parameter(conv.weight * scale[:, None, None, None])
    conv.bias = _parameter((bias - norm.running_mean) * scale + norm.bias)
    module.norm = nn.Identity()


def _merge_pointwise(conv: SeparableConv2d) -> nn.Conv2d:
    """A depthwise 1x1 scales channels: it goes into the columns of the pointwise one."""
    depthwise, pointwise = conv.depthwise, conv.pointwise
    merged = nn.Conv2d(pointwise.in_channels, pointwise.out_channels, 1, bias=pointwise.bias is not None)
    merged.weight = _parameter(pointwise.weight * depthwise.weight.reshape(1, -1, 1, 1))
    if pointwise.bias is not None and depthwise.bias is not None:
        merged.bias = _parameter(pointwise.bias + pointwise.weight.flatten(1) @ depthwise.bias)
    return merged


def _parameter(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value, requires_grad=False)
