"""Tiny networks in the layout of the Hugging Face hub whose answers are known."""

import math
from pathlib import Path

CARD = "---\nlicense: {licence}\ntags: [vision]\n---\n# A network for tests\n"


def save(model, processor, folder: Path, licence="apache-2.0") -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "README.md").write_text(CARD.format(licence=licence))
    return folder


def depth_network(folder: Path, *, meters=2.0, kind="metric", licence="apache-2.0") -> Path:
    """Depth Anything that answers `meters` everywhere, or with kind `relative` its random self."""
    import torch
    import transformers as hub

    torch.manual_seed(0)
    backbone = hub.Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    config = hub.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=10,
    )
    model = hub.DepthAnythingForDepthEstimation(config)
    if kind == "metric":
        torch.nn.init.zeros_(model.head.conv3.weight)
        torch.nn.init.constant_(model.head.conv3.bias, math.log(meters / (10 - meters)))
    size = {"height": 28, "width": 28}
    processor = hub.DPTImageProcessor(size=size, ensure_multiple_of=14, keep_aspect_ratio=True)
    return save(model, processor, folder, licence)


def label_network(folder: Path, logits: dict[str, float], licence="apache-2.0") -> Path:
    """SegFormer that answers these logits of classes of these names everywhere."""
    import torch
    import transformers as hub

    config = hub.SegformerConfig(
        num_labels=len(logits),
        id2label=dict(enumerate(logits)),
        label2id={name: number for number, name in enumerate(logits)},
        hidden_sizes=[4, 4, 8, 8],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
    )
    model = hub.SegformerForSemanticSegmentation(config)
    torch.nn.init.zeros_(model.decode_head.classifier.weight)
    with torch.no_grad():
        model.decode_head.classifier.bias.copy_(torch.tensor(list(logits.values())))
    return save(model, hub.SegformerImageProcessor(size={"height": 32, "width": 32}), folder, licence)


def mask_network(folder: Path, names: list[str]) -> Path:
    """Mask2Former with random weights."""
    import torch
    import transformers as hub

    torch.manual_seed(0)
    backbone = hub.SwinConfig(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = hub.Mask2FormerConfig(
        backbone_config=backbone,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=8,
        dim_feedforward=8,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=5,
    )
    model = hub.Mask2FormerForUniversalSegmentation(config)
    return save(model, hub.Mask2FormerImageProcessor(size={"height": 64, "width": 64}), folder)
