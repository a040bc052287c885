"""How the terms of the loss are balanced while training: fixed, by dynamic weight averaging, or by learnt uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

WeightingName = Literal["fixed", "dwa", "uncertainty"]


def dynamic_weight_average(history: Sequence[Mapping[str, float]], temperature: float = 2.0) -> dict[str, float]:
    """Weights of the next epoch from the epoch means of the terms so far (Liu et al., CVPR 2019, equation 7).

    A term whose mean fell less than the others' weighs more: `w_k = K exp(r_k / T) / sum_i exp(r_i / T)` with
    `r_k = L_k(t-1) / L_k(t-2)`. Weights sum to the number of terms K; they are all 1 for the first two epochs, and for terms
    that either of the last two epochs does not have. Raises ValueError for a temperature that is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if len(history) < 2:
        return {name: 1.0 for epoch in history for name in epoch}
    last, before = history[-1], history[-2]
    rates = {name: last[name] / before[name] for name in last if before.get(name, 0.0) > 0}
    if not rates:
        return dict.fromkeys(last, 1.0)
    highest = max(rates.values())
    powers = {name: math.exp((rate - highest) / temperature) for name, rate in rates.items()}
    total = sum(powers.values())
    return {name: len(powers) * powers[name] / total if name in powers else 1.0 for name in last}


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum of the terms times their weights; a term without one weighs 1."""
    if not terms:
        raise ValueError("no loss term applies: the data has none of the network's tasks, or all weights are 0")
    return torch.stack([weights.get(name, 1.0) * value for name, value in terms.items()]).sum()


class UncertaintyWeights(nn.Module):
    """Learnt weights (Kendall et al., CVPR 2018): the sum of `exp(-s) L + s / 2` over the terms, s the log of a variance."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.log_variances = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in names})

    def forward(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum; raises ValueError for a term that has no variance."""
        unknown = set(terms) - set(self.log_variances)
        if unknown or not terms:
            raise ValueError(f"expected some of the terms {list(self.log_variances)}, got {list(terms)}")
        parts = [
            torch.exp(-self.log_variances[name]) * value + self.log_variances[name] / 2 for name, value in terms.items()
        ]
        return torch.stack(parts).sum()
