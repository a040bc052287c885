"""The M2H decoder in the plain order of its published description: the readable reference for speed and numbers.

Every operation is where the description has it: 1x1 convolutions after the upsamplings, gates from means of full-size maps,
attention that also returns its weights, batch norms unfolded, contiguous layout. Functions on the published state dict.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from m2h.checkpoint import published_state_dict
from m2h.model import M2H
from m2h.model.network import centre_padding

ORDER = ("edges", "normals", "sem_seg", "depth")
Weights = dict[str, Tensor]


def roughen(model: M2H) -> M2H:
    """Fill every entry depending only on its name, so that no term is zero, no norm is trivial and most depths are positive."""
    state = {}
    for name, value in model.state_dict().items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        shape = tuple(value.shape)
        if name.endswith("running_var"):
            filled = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1 and name.endswith("weight"):
            filled = rng.uniform(0.6, 1.4, shape)
        elif len(shape) <= 1:
            filled = rng.normal(0.0, 0.1, shape)
        else:
            filled = rng.normal(0.0, 1.0, shape) / np.sqrt(np.prod(shape[1:]))
        state[name] = torch.as_tensor(filled).to(value.dtype)
    state["heads.depth.out.bias"] += 1.5
    model.load_state_dict(state)
    return model.eval()


class PlainM2H:
    """`PlainM2H(model)(images)` equals `model(images)`, for the four tasks in evaluation mode."""

    def __init__(self, model: M2H) -> None:
        self.model, self.config = model, model.config
        self.weights = {name: value.contiguous() for name, value in published_state_dict(model).items()}

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images [B, 3, H, W] to the four outputs; the padding is squeezed into the image, as published."""
        canvas = F.pad(images, centre_padding(images.shape[-2:], self.model.backbone.patch))
        taps = [(patches.contiguous(), token) for patches, token in self.model.backbone(canvas)]
        p = Part(self.weights, "mlt_head", separable=self.config.separable)
        pyramid = [reduce(p, i, *tap) for i, tap in enumerate(taps)]
        before = {task: task_fusion(p, task, pyramid) for task in ORDER}
        after = cross_task(p, before, self.config.attention_layers, self.config.attention_heads, self.config.window)
        unique = {task: unique_features(p / f"unique_{task}_feature", taps[-1][0]) for task in ("depth", "semantic")}
        depth = merge(p / "restore_depth", before["depth"], after["depth"], unique["depth"])
        semantics = merge(p / "restore_semseg", before["sem_seg"], after["sem_seg"], unique["semantic"])
        stages = len(self.config.head_channels)
        outputs = {
            "depth": F.relu(dense_head(p / "conv_depth", depth, stages)) + self.config.min_depth,
            "semantics": dense_head(p / "seg_out", semantics, stages),
            "normals": F.normalize(torch.tanh(point_head(p / "conv_normal", after["normals"], stages)), dim=1),
            "edges": point_head(p / "conv_edge", after["edges"], stages),
        }
        return {task: resize(x, images.shape[-2:]) for task, x in outputs.items()}


class Part:
    """A view of the weights below a prefix, and the layers that read them by name."""

    def __init__(self, weights: Weights, prefix: str, *, separable: bool) -> None:
        self.weights, self.prefix, self.separable = weights, prefix, separable

    def __truediv__(self, name: object) -> Part:
        return Part(self.weights, f"{self.prefix}.{name}", separable=self.separable)

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[f"{self.prefix}.{name}"]

    def get(self, name: str) -> Tensor | None:
        return self.weights.get(f"{self.prefix}.{name}")

    def conv(self, name: str, x: Tensor, **options: int) -> Tensor:
        """A convolution, or a depthwise and a pointwise one, depending on the weights; `same` padding."""
        part = self / name
        if part.get("weight") is None:
            x = (part).conv("depthwise", x, groups=x.shape[1], **options)
            return part.conv("pointwise", x)
        kernel = part["weight"].shape[-1]
        padding = options.get("dilation", 1) * (kernel // 2)
        return F.conv2d(x, part["weight"], part.get("bias"), padding=padding, **options)

    def transposed(self, name: str, x: Tensor, stride: int) -> Tensor:
        return F.conv_transpose2d(x, (self / name)["weight"], (self / name)["bias"], stride=stride)

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        n = self / name
        return F.batch_norm(x, n["running_mean"], n["running_var"], n["weight"], n["bias"])

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], (self / name)["weight"], (self / name)["bias"])

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, (self / name)["weight"], (self / name)["bias"])


def resize(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def up2(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def reduce(p: Part, i: int, patches: Tensor, class_token: Tensor) -> Tensor:
    tokens = patches.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens, class_token.unsqueeze(1).expand_as(tokens)], dim=2)
    tokens = F.gelu((p / "reassemble_blocks").linear(f"readout_projects.{i}.0", tokens))
    x = tokens.transpose(1, 2).reshape(patches.shape)
    blocks = p / "reassemble_blocks"
    x = blocks.conv(f"projects.{i}.conv", x)
    if i in (0, 1):
        x = blocks.transposed(f"resize_layers.{i}", x, stride=(4, 2)[i])
    if i == 3:
        x = blocks.conv("resize_layers.3", x, stride=2)
    return p.conv(f"convs.{i}.conv", x)


def residual_unit(p: Part, name: str, x: Tensor) -> Tensor:
    if p.separable:
        return x + p.conv("res_unit.block.1", F.gelu(x))
    return x + p.conv(f"{name}.conv2.conv", F.relu(p.conv(f"{name}.conv1.conv", F.relu(x))))


def fusion_block(p: Part, x: Tensor, skip: Tensor | None = None) -> Tensor:
    if skip is not None:
        if skip.shape[-2:] != x.shape[-2:]:
            skip = resize(skip, x.shape[-2:])
        x = x + residual_unit(p, "res_conv_unit1", skip)
    x = up2(residual_unit(p, "res_conv_unit2", x))
    return p.conv("project" if p.separable else "project.conv", x)


def task_fusion(p: Part, task: str, pyramid: list[Tensor]) -> Tensor:
    blocks = p / f"fusion_blocks_{task}"
    x = fusion_block(blocks / 0, pyramid[3])
    for i in (1, 2, 3):
        x = fusion_block(blocks / i, x, pyramid[3 - i])
    return F.relu(p.conv(f"project_{task}.conv", x))


def unique_features(p: Part, patches: Tensor) -> Tensor:
    x = p.conv("reassemble.projects.conv", patches)
    x = p.conv("reassemble.resize_layers", x, stride=2)
    return fusion_block(p / "fusion_block", F.gelu(p.conv("conv_proj.conv", x)))


def cross_task(p: Part, maps: dict[str, Tensor], layers: int, heads: int, window: int) -> dict[str, Tensor]:
    if p.separable:
        maps = {task: F.max_pool2d(p.conv(f"pre_attn_proj.{task}", x), 2) for task, x in maps.items()}
    for layer in range(layers):
        maps = attention_layer(p / f"cross_attn.{layer}", maps, heads, window)
    if p.separable:
        maps = {task: p.conv(f"post_attn_proj.{task}", up2(x)) for task, x in maps.items()}
    return maps


def attention_layer(p: Part, maps: dict[str, Tensor], heads: int, side: int) -> dict[str, Tensor]:
    batch, width, h, w = maps["edges"].shape
    down, right = -h % side, -w % side
    rows, columns = (h + down) // side, (w + right) // side
    tokens = []
    for number, x in enumerate(maps.values()):
        x = F.pad(x, (0, right, 0, down)).view(batch, width, rows, side, columns, side)
        x = x.permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, width)
        tokens.append(p.layer_norm(f"norm_layers.{number}", x))
    x = torch.cat(tokens, dim=1)
    x = x + self_attention(p / "attn", x, heads)
    x = x + p.linear("ffn_fc2", F.gelu(p.linear("ffn_fc1", x)))
    outputs = {}
    for number, (task, part) in enumerate(zip(maps, x.split(side * side, dim=1), strict=True)):
        part = p.layer_norm(f"norm2_layers.{number}", part).view(batch, rows, columns, side, side, width)
        part = part.permute(0, 5, 1, 3, 2, 4).reshape(batch, width, rows * side, columns * side)
        outputs[task] = part[:, :, :h, :w].contiguous()
    return outputs


def self_attention(p: Part, x: Tensor, heads: int) -> Tensor:
    """nn.MultiheadAttention with returned weights: they are computed, averaged and here dropped."""
    x = x.transpose(0, 1)
    attended, _ = F.multi_head_attention_forward(
        *(x, x, x, x.shape[-1], heads),
        in_proj_weight=p["in_proj_weight"],
        in_proj_bias=p["in_proj_bias"],
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=p["out_proj.weight"],
        out_proj_bias=p["out_proj.bias"],
        training=False,
        need_weights=True,
    )
    return attended.transpose(0, 1)


def merge(p: Part, original: Tensor, attended: Tensor, unique: Tensor) -> Tensor:
    groups = 4 if p.separable else 1
    o, a = p.conv("conv_orig", original, groups=groups), p.conv("conv_attn", attended, groups=groups)
    q = p.conv("conv_uniq", unique, groups=groups)
    q = F.interpolate(q, size=o.shape[-2:], mode="bilinear", align_corners=True)
    gate = p.conv("gate_fc.0", torch.cat([o, a, q], dim=1).mean(dim=(2, 3), keepdim=True))
    if not p.separable:
        gate = p.conv("gate_fc.2", F.relu(gate))
    g1, g2, g3 = torch.sigmoid(gate).chunk(3, dim=1)
    merged = o * g1 + a * g2 + q * g3
    return p.conv("out_conv", merged + p.conv("ffn.2", F.relu(p.conv("ffn.0", merged))))


def context(p: Part, x: Tensor) -> Tensor:
    branches = [F.relu(p.batch_norm("aspp1.1", p.conv("aspp1.0", x)))]
    for number, dilation in ((2, 6),) if p.separable else ((2, 6), (3, 12), (4, 18)):
        branches.append(F.relu(p.batch_norm(f"aspp{number}.1", p.conv(f"aspp{number}.0", x, dilation=dilation))))
    overall = p.conv("global_avg_pool.1", x.mean(dim=(2, 3), keepdim=True))
    norm = p / "global_avg_pool.2"
    overall = F.relu(F.group_norm(overall, 1, norm["weight"], norm["bias"]))
    x = torch.cat([*branches, overall.expand(-1, -1, *x.shape[-2:])], dim=1)
    conv, norm_name = ("project.0", "project.1") if p.separable else ("conv1", "bn1")
    return F.relu(p.batch_norm(norm_name, p.conv(conv, x)))


def up_block(p: Part, x: Tensor) -> Tensor:
    names = ("conv1", "bn1", "conv2", "bn2") if p.separable else [f"upsample.{n}" for n in (0, 1, 3, 4)]
    y = F.relu(p.batch_norm(names[1], p.conv(names[0], x)))
    y = F.relu(p.batch_norm(names[3], p.conv(names[2], y)))
    y = p.conv("refine_conv", up2(y), groups=4) if p.separable else p.transposed("upsample.6", y, stride=2)
    gate = p.conv("channel_attn.1", y.mean(dim=(2, 3), keepdim=True))
    gate = torch.sigmoid(p.conv("channel_attn.3", F.relu(gate)))
    return y * gate + p.conv("residual", up2(x), groups=4 if p.separable else 1)


def dense_head(p: Part, x: Tensor, stages: int) -> Tensor:
    x = context(p / "aspp", x)
    for stage in range(1, stages + 1):
        x = up_block(p / f"upsample{stage}", x)
    if p.separable:
        x = x + F.relu(p.conv("refine.conv.0", x))
    else:
        x = x + F.relu(p.conv("refine.conv2.conv", F.relu(p.conv("refine.conv1.conv", x))))
    return p.conv("final_conv", x * torch.sigmoid(p.conv("spatial_attn.0", x)))


def point_head(p: Part, x: Tensor, stages: int) -> Tensor:
    for stage in range(stages):
        x = up_block(p / f"head.{stage}", x)
    return p.conv("head.2", x)
