"""The network that a training run starts from: random, a checkpoint, or the pretrained weights of a backbone."""

from __future__ import annotations

from pathlib import Path

from m2h.checkpoint import read_state_dict
from m2h.model import M2H, build_model
from m2h.model.backbone import ConvBackbone
from m2h.train_config import TrainConfig, TrainError
from m2h.weights import load_weights
from mapping.reading.files import check_regular

COUNTER = "num_batches_tracked"
"""Ending of what batch norms count, which not every file has."""


def initial_model(config: TrainConfig) -> M2H:
    """The network of a configuration before its first step; raises TrainError for weights that do not fit it."""
    if config.init:
        model, record = load_weights(config.init)
        if record.config != config.model:
            raise TrainError(f"init {config.init}: contains a different network from the one that model describes")
        return model
    model = build_model(config.model)
    if config.backbone_weights:
        load_backbone(model, Path(config.backbone_weights))
    return model


def load_backbone(model: M2H, path: Path) -> None:
    """Load weights of the backbone alone, strictly: DINOv2's or timm's names, or, for a convolutional network, other names in the
    same order with the same shapes, classifier aside.

    Raises TrainError naming the file and the entries that do not fit.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        check_regular(path, TrainError)
        try:
            state = load_file(path)
        except (SafetensorError, OSError) as error:
            raise TrainError(f"{path}: not a readable safetensors file: {error}") from error
    else:
        state = read_state_dict(path)
    network = model.backbone.cnn if isinstance(model.backbone, ConvBackbone) else model.backbone.vit
    own = {name: value for name, value in network.state_dict().items() if not name.endswith(COUNTER)}
    if isinstance(model.backbone, ConvBackbone) and not own.keys() <= state.keys():
        given = [value for name, value in state.items() if not name.endswith(COUNTER)]
        state = dict(zip(own, given, strict=False))
    wrong = sorted(name for name in own if name not in state or state[name].shape != own[name].shape)
    if wrong:
        raise TrainError(f"{path}: missing or of a different shape for {model.config.backbone}: {', '.join(wrong[:6])}")
    network.load_state_dict({name: state[name] for name in own}, strict=False)
