"""What the published network (UAV-Centre-ITC/M2H) calls the entries of our state dict.

Its names follow its own classes, ours follow ours. This is the one map between them: rules applied in order to our names. The
backbone's names are timm's. Tensors have the same shapes and layout on both sides.
"""

from __future__ import annotations

import re

PUBLISHED_NAMES: tuple[tuple[str, str], ...] = (
    (r"^backbone\.vit\.", "backbone."),
    (r"^(?!backbone\.)", "mlt_head."),
    # reassembly of tokens
    (r"reassemble\.readout\.(\d)\.", r"reassemble_blocks.readout_projects.\1.0."),
    (r"reassemble\.project\.(\d)\.", r"reassemble_blocks.projects.\1.conv."),
    (r"reassemble\.resize\.", "reassemble_blocks.resize_layers."),
    (r"reassemble\.reduce\.(\d)\.", r"convs.\1.conv."),
    # task fusion and unique features
    (r"fusion\.(\w+)\.blocks\.", r"fusion_blocks_\1."),
    (r"fusion\.(\w+)\.project\.", r"project_\1.conv."),
    (r"unique\.depth\.", "unique_depth_feature."),
    (r"unique\.semantics\.", "unique_semantic_feature."),
    (r"(unique_\w+)\.project\.", r"\1.reassemble.projects.conv."),
    (r"(unique_\w+)\.down\.", r"\1.reassemble.resize_layers."),
    (r"(unique_\w+)\.reduce\.", r"\1.conv_proj.conv."),
    (r"(unique_\w+)\.block\.", r"\1.fusion_block."),
    # cross-task attention: tasks are numbered in its layers and named in its projections
    (r"cross_task\.layers\.", "cross_attn."),
    (r"norm_in\.", "norm_layers."),
    (r"norm_out\.", "norm2_layers."),
    (r"(cross_attn\.\d)\.qkv\.", r"\1.attn.in_proj_"),
    (r"(cross_attn\.\d)\.out\.", r"\1.attn.out_proj."),
    (r"(cross_attn\.\d)\.fc", r"\1.ffn_fc"),
    (r"cross_task\.down\.(\d)", r"pre_attn_proj.\1"),
    (r"cross_task\.up\.(\d)", r"post_attn_proj.\1"),
    (r"(attn_proj)\.0", r"\1.edges"),
    (r"(attn_proj)\.1", r"\1.normals"),
    (r"(attn_proj)\.2", r"\1.sem_seg"),
    (r"(attn_proj)\.3", r"\1.depth"),
    # gated merging
    (r"merge\.depth\.", "restore_depth."),
    (r"merge\.semantics\.", "restore_semseg."),
    (r"(restore_\w+)\.original", r"\1.conv_orig"),
    (r"(restore_\w+)\.attended", r"\1.conv_attn"),
    (r"(restore_\w+)\.unique", r"\1.conv_uniq"),
    (r"(restore_\w+)\.gate\.", r"\1.gate_fc."),
    (r"(restore_\w+)\.out\.", r"\1.out_conv."),
    # heads
    (r"heads\.depth\.", "conv_depth."),
    (r"heads\.semantics\.", "seg_out."),
    (r"heads\.normals\.up\.", "conv_normal.head."),
    (r"heads\.edges\.up\.", "conv_edge.head."),
    (r"heads\.normals\.out\.", "conv_normal.head.2."),
    (r"heads\.edges\.out\.", "conv_edge.head.2."),
    (r"\.up\.0\.", ".upsample1."),
    (r"\.up\.1\.", ".upsample2."),
    (r"\.spatial\.", ".spatial_attn.0."),
    (r"(conv_depth|seg_out)\.out\.", r"\1.final_conv."),
    (r"context\.branches\.0\.", "aspp.aspp1."),
    (r"context\.branches\.1\.", "aspp.aspp2."),
    (r"context\.branches\.2\.", "aspp.aspp3."),
    (r"context\.branches\.3\.", "aspp.aspp4."),
    (r"(aspp\.aspp\d)\.conv\.", r"\1.0."),
    (r"(aspp\.aspp\d)\.norm\.", r"\1.1."),
    (r"context\.global_conv\.", "aspp.global_avg_pool.1."),
    (r"context\.global_norm\.", "aspp.global_avg_pool.2."),
    (r"\.gate\.0\.", ".channel_attn.1."),
    (r"\.gate\.2\.", ".channel_attn.3."),
    (r"_semantics\.", "_sem_seg."),
)

DENSE_NAMES: tuple[tuple[str, str], ...] = (
    (r"(fusion_block\w*(?:\.\d)?)\.project\.", r"\1.project.conv."),
    (r"\.skip_unit\.(first|second)\.", r".res_conv_unit1.\1."),
    (r"\.unit\.(first|second)\.", r".res_conv_unit2.\1."),
    (r"(res_conv_unit\d|refine)\.first\.", r"\1.conv1.conv."),
    (r"(res_conv_unit\d|refine)\.second\.", r"\1.conv2.conv."),
    (r"context\.merge\.conv\.", "aspp.conv1."),
    (r"context\.merge\.norm\.", "aspp.bn1."),
    (r"\.first\.conv\.", ".upsample.0."),
    (r"\.first\.norm\.", ".upsample.1."),
    (r"\.second\.conv\.", ".upsample.3."),
    (r"\.second\.norm\.", ".upsample.4."),
    (r"\.expand\.", ".upsample.6."),
)
"""Rules for the full network only."""

SEPARABLE_NAMES: tuple[tuple[str, str], ...] = (
    (r"\.unit\.first\.", ".res_unit.block.1."),
    (r"refine\.first\.", "refine.conv.0."),
    (r"context\.merge\.conv\.", "aspp.project.0."),
    (r"context\.merge\.norm\.", "aspp.project.1."),
    (r"\.first\.conv\.", ".conv1."),
    (r"\.first\.norm\.", ".bn1."),
    (r"\.second\.conv\.", ".conv2."),
    (r"\.second\.norm\.", ".bn2."),
    (r"\.expand\.", ".refine_conv."),
)
"""Rules for the light networks only."""


def published_name(name: str, *, separable: bool) -> str:
    """What the published network calls the entry `name` of our state dict."""
    for pattern, replacement in PUBLISHED_NAMES + (SEPARABLE_NAMES if separable else DENSE_NAMES):
        name = re.sub(pattern, replacement, name)
    return name
