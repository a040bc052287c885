"""Balancing the terms: by hand, at the limits, and that a learnt weight moves the right way."""

from __future__ import annotations

import math

import pytest
import torch

from m2h.weighting import UncertaintyWeights, dynamic_weight_average, weighted_sum


def test_dwa_starts_with_ones() -> None:
    assert dynamic_weight_average([]) == {}
    assert dynamic_weight_average([{"a": 3.0, "b": 1.0}]) == {"a": 1.0, "b": 1.0}


def test_dwa_by_hand() -> None:
    """Rates 1 and 1/2 at T = 1: weights 2 e / (e + sqrt e) and 2 sqrt e / (e + sqrt e)."""
    weights = dynamic_weight_average([{"a": 4.0, "b": 4.0}, {"a": 4.0, "b": 2.0}], temperature=1.0)
    e, root = math.e, math.sqrt(math.e)
    assert weights == pytest.approx({"a": 2 * e / (e + root), "b": 2 * root / (e + root)})


def test_dwa_laws() -> None:
    history = [{"a": 9.0, "b": 1.0, "c": 2.0}, {"a": 3.0, "b": 1.0, "c": 4.0}]
    weights = dynamic_weight_average(history)
    assert sum(weights.values()) == pytest.approx(3)
    assert weights["a"] < weights["b"] < weights["c"]
    scaled = [{name: 100 * value for name, value in epoch.items()} for epoch in history]
    assert dynamic_weight_average(scaled) == pytest.approx(weights)
    flat = dynamic_weight_average(history, temperature=1e9)
    assert flat == pytest.approx({"a": 1, "b": 1, "c": 1})
    assert dynamic_weight_average([{"a": 1e-9}, {"a": 1e3}]) == {"a": 1.0}  # no overflow


def test_dwa_gives_new_and_zero_terms_weight_one() -> None:
    weights = dynamic_weight_average([{"a": 1.0, "z": 0.0}, {"a": 1.0, "z": 1.0, "new": 5.0}])
    assert weights == {"a": 1.0, "z": 1.0, "new": 1.0}
    assert dynamic_weight_average([{"z": 0.0}, {"z": 0.0}]) == {"z": 1.0}


def test_dwa_rejects_a_temperature_of_zero() -> None:
    with pytest.raises(ValueError, match="temperature"):
        dynamic_weight_average([], temperature=0.0)


def test_weighted_sum() -> None:
    terms = {"a": torch.tensor(2.0), "b": torch.tensor(3.0)}
    assert weighted_sum(terms, {"a": 10.0}) == 23.0
    with pytest.raises(ValueError, match="no loss term applies"):
        weighted_sum({}, {})


def test_uncertainty_by_hand_and_at_its_optimum() -> None:
    """At s = 0 the sum of the terms; exp(-s) L + s / 2 is smallest where exp(s) = 2 L."""
    weights = UncertaintyWeights(["a", "b"]).double()
    terms = {"a": torch.tensor(2.0, dtype=torch.float64), "b": torch.tensor(0.5, dtype=torch.float64)}
    assert float(weights(terms).detach()) == pytest.approx(2.5)
    with torch.no_grad():
        for name, value in terms.items():
            weights.log_variances[name].fill_(math.log(2 * float(value)))
    weights(terms).backward()
    for parameter in weights.parameters():
        assert float(parameter.grad) == pytest.approx(0, abs=1e-12)


def test_uncertainty_gradients() -> None:
    weights = UncertaintyWeights(["a"]).double()

    def total(s: torch.Tensor, term: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(weights, {"log_variances.a": s}, ({"a": term},))

    inputs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.3, 1.7)]
    assert torch.autograd.gradcheck(total, inputs)


def test_uncertainty_rejects_unknown_terms() -> None:
    with pytest.raises(ValueError, match="expected some of the terms"):
        UncertaintyWeights(["a"])({"b": torch.tensor(1.0)})
