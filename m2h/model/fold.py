"""A copy of a network for inference, with everything constant worked out beforehand."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from m2h.model.backbone import ConvBackbone
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
        elif isinstance(module, ConvBackbone) and module.is_staged:
            _fold_stages(module.cnn)
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
    conv = module.conv.pointwise if isinstance(module.conv, SeparableConv2d) else module.conv
    assert isinstance(conv, nn.Conv2d)
    _fold_into(conv, norm)
    module.norm = nn.Identity()


def _fold_stages(network: nn.Module) -> None:
    """The same in a network of timm's EfficientNet family, where a norm with its activation follows the convolution before it."""
    for block in network.modules():
        conv: nn.Module | None = None
        for name, child in list(block.named_children()):
            if isinstance(child, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d):
                _fold_into(conv, child)
                setattr(block, name, getattr(child, "act", nn.Identity()))
            conv = child


def _fold_into(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)).to(norm.weight.dtype)
    bias = norm.running_mean.new_zeros(()) if conv.bias is None else conv.bias
    conv.weight = _parameter(conv.weight * scale[:, None, None, None])
    conv.bias = _parameter((bias - norm.running_mean) * scale + norm.bias)


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
