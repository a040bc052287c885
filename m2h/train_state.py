"""What a training run has to remember to resume as if it had never stopped, and its file.

One safetensors file has all tensors (weights, moving average, optimizer moments) and, as JSON in its header, the counters. No
pickle, and nothing in it is run when it is read.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from m2h.checkpoint import save_tensors
from m2h.model import M2H
from m2h.model.backbone import Backbone
from m2h.train_config import OptimizerConfig, TrainConfig, TrainError
from m2h.weighting import UncertaintyWeights
from mapping.reading.documents import parse_json
from mapping.reading.files import check_regular

STATE_KEY = "m2h_training"
FINE_PARTS = tuple(f"heads.depth.{part}" for part in ("cascade", "refine", "spatial", "out", "gate"))
"""Modules that TrainConfig.trained `fine` trains."""
Sums: TypeAlias = dict[str, tuple[float, int]]
"""By loss term: the sum of its values and how many there are."""


@dataclass
class TrainState:
    """A run in progress. `step` counts optimizer steps in all; `history` has the epoch means of the loss terms before
    dynamic weights; `sums` has those of this process in the epoch that is under way."""

    model: M2H
    average: M2H | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    uncertainty: UncertaintyWeights | None
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    sums: Sums = field(default_factory=dict)
    best: float = -math.inf

    @property
    def measured(self) -> M2H:
        """The network to measure and keep: the moving average where there is one."""
        return self.model if self.average is None else self.average

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Move the average towards the weights; the first steps move it faster, so that it forgets the initial weights."""
        if self.average is None:
            return
        decay = min(decay, (1 + self.step) / (10 + self.step))
        own = self.model.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(own[name], 1 - decay)
            else:
                value.copy_(own[name])


def new_state(config: TrainConfig, model: M2H, uncertainty: UncertaintyWeights | None) -> TrainState:
    """A run at its beginning; freezes the backbone when its learning rate is 0."""
    model.backbone.requires_grad_(requires_grad=config.optimizer.backbone_factor > 0)
    if config.trained == "fine":
        model.requires_grad_(requires_grad=False)
        for part in FINE_PARTS:
            model.get_submodule(part).requires_grad_(requires_grad=True)
    if isinstance(model.backbone, Backbone):
        model.backbone.vit.norm.requires_grad_(requires_grad=False)
        if hasattr(model.backbone, "mask_token"):
            model.backbone.mask_token.requires_grad = False
    device = next(model.parameters()).device
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
    average = copy.deepcopy(model).eval().requires_grad_(requires_grad=False) if config.ema else None
    return TrainState(model, average, make_optimizer(model, uncertainty, config.optimizer), scaler, uncertainty)


def make_optimizer(
    model: M2H, uncertainty: UncertaintyWeights | None, config: OptimizerConfig
) -> torch.optim.Optimizer:
    """AdamW over four groups: backbone and the rest, each with and without weight decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    named = list(model.named_parameters()) + (list(uncertainty.named_parameters()) if uncertainty else [])
    for name, parameter in named:
        if parameter.requires_grad:
            factor = config.backbone_factor if name.startswith("backbone.") else 1.0
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((factor, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": config.learning_rate * factor, "factor": factor, "weight_decay": decay}
            for (factor, decay), parameters in groups.items()
        ]
    )


def learning_rate(config: OptimizerConfig, step: int, total: int) -> float:
    """The decoder's learning rate at a step of a run of `total` steps."""
    share = min(step / max(total, 1), 1.0)
    factors = {
        "poly": (1 - share) ** 0.9,
        "cosine": 0.5 * (1 + math.cos(math.pi * share)),
        "step": 0.5 ** int(6 * share),
        "constant": 1.0,
    }
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    return config.learning_rate * factors[config.schedule] * warmup


def save_state(path: Path, state: TrainState, config: TrainConfig, sums: list[Sums]) -> None:
    """Write the state, atomically, with the `sums` of every process that trains."""
    tensors = {f"model/{name}": value for name, value in state.model.state_dict().items()}
    if state.average is not None:
        tensors |= {f"average/{name}": value for name, value in state.average.state_dict().items()}
    if state.uncertainty is not None:
        tensors |= {f"uncertainty/{name}": value for name, value in state.uncertainty.state_dict().items()}
    for number, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": value for name, value in moments.items()}
    counters = {
        "config": config.to_mapping(),
        "step": state.step,
        "history": state.history,
        "sums": sums,
        "best": None if math.isinf(state.best) else state.best,
        "scale": state.scaler.get_scale(),
    }
    copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    save_tensors(path, copies, {STATE_KEY: json.dumps(counters)})


def load_state(path: Path, state: TrainState, config: TrainConfig, rank: int = 0, count: int = 1) -> None:
    """Put a saved state into a new one of the same configuration, in process `rank` of `count`.

    Raises TrainError when the file is damaged or belongs to a run of a different configuration, naming the first field that
    differs.
    """
    check_regular(path, TrainError)
    try:
        with safe_open(path, framework="pt") as file:
            counters: Any = parse_json((file.metadata() or {})[STATE_KEY], f"{path}: {STATE_KEY}", TrainError)
        tensors = load_file(path)
        _restore(tensors, counters, path, state, config)
    except (SafetensorError, OSError, KeyError, TypeError, RuntimeError, ValueError) as error:
        if isinstance(error, TrainError):
            raise
        raise TrainError(f"{path}: not a saved training state: {error}") from error
    state.sums = share_of(counters["sums"], rank, count)


def _restore(tensors: dict[str, Tensor], counters: Any, path: Path, state: TrainState, config: TrainConfig) -> None:
    difference = _first_difference(counters["config"], config.to_mapping())
    if difference:
        raise TrainError(f"{path}: belongs to a run with a different {difference}; choose a different output folder")
    state.model.load_state_dict(_below(tensors, "model"))
    if state.average is not None:
        state.average.load_state_dict(_below(tensors, "average"))
    if state.uncertainty is not None:
        state.uncertainty.load_state_dict(_below(tensors, "uncertainty"))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _below(tensors, "optimizer").items():
        number, _, key = name.partition("/")
        moments.setdefault(int(number), {})[key] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    if state.scaler.is_enabled():
        state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": counters["scale"]})
    state.step, state.history = counters["step"], counters["history"]
    state.best = -math.inf if counters["best"] is None else counters["best"]


def share_of(sums: list[Sums], rank: int, count: int) -> Sums:
    """The saved sums that process `rank` of `count` continues with: its own, or, when there were other processes then, all in the
    first process. The epoch's means come from the total either way."""
    if len(sums) == count:
        return {name: (total, number) for name, (total, number) in sums[rank].items()}
    return merge_sums(sums) if rank == 0 else {}


def merge_sums(parts: list[Sums]) -> Sums:
    """The sums of several processes as one, added in their order."""
    merged: Sums = {}
    for part in parts:
        for name, (total, number) in part.items():
            before = merged.get(name, (0.0, 0))
            merged[name] = (before[0] + total, before[1] + number)
    return merged


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _first_difference(one: Any, other: Any, where: str = "") -> str:
    """The dotted name of the first field in which two nested mappings differ; empty when they are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            found = _first_difference(one.get(key), other.get(key), f"{where}.{key}".lstrip("."))
            if found:
                return found
        return ""
    return "" if one == other else where
