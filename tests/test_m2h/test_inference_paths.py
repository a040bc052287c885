"""The fast inference paths follow the weights, and work in other arithmetic, at odd sizes and during training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from network_helpers import plain_network, random_images, relative_error, tiny_model

from m2h.checkpoint import load_published, published_state_dict
from m2h.model import M2H, M2HConfig, build_model, prepare_for_inference, strips


@pytest.fixture(autouse=True)
def _thin_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of a few rows even in small networks, on one thread."""
    torch.set_num_threads(1)
    monkeypatch.setattr(strips, "STRIP_BYTES", 1)


@torch.inference_mode()
def outputs_of(model: M2H, images: torch.Tensor) -> dict[str, torch.Tensor]:
    return model.eval()(images)


def shaken(model: M2H) -> dict[str, torch.Tensor]:
    """The published state dict with every number a bit larger."""
    return {
        name: value * 1.1 if value.is_floating_point() else value for name, value in published_state_dict(model).items()
    }


@pytest.mark.parametrize("separable", [False, True])
def test_loading_weights_changes_what_was_run_before(separable: bool) -> None:
    model, images = tiny_model(separable=separable, published=True), random_images(1, 40, 56)
    before = outputs_of(model, images)
    fresh = build_model(model.config)
    load_published(fresh, shaken(model))
    load_published(model, shaken(model))
    for task, value in outputs_of(fresh, images).items():
        torch.testing.assert_close(outputs_of(model, images)[task], value, rtol=0, atol=0)
        assert relative_error(before[task], value) > 1e-3


@pytest.mark.parametrize("separable", [False, True])
def test_training_steps_between_inferences_count(separable: bool) -> None:
    """After a training step (weights and batch-norm statistics move) a network equals one that never ran before."""
    model, images = tiny_model(separable=separable, published=True), random_images(2, 40, 56)
    before = outputs_of(model, images)
    prepared = prepare_for_inference(model)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    loss = sum(x.square().mean() for x in model.train()(images).values())
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    optimiser.step()
    fresh = build_model(model.config)
    fresh.load_state_dict(model.state_dict())
    expected = plain_network.PlainM2H(fresh.eval())(images)
    for task, value in outputs_of(model, images).items():
        assert relative_error(value, expected[task]) < 5e-5
        assert relative_error(before[task], value) > 1e-4
        torch.testing.assert_close(outputs_of(prepared, images)[task], before[task], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 5e-5), (torch.float16, 0.1), (torch.bfloat16, 0.6)], ids=str
)
def test_other_arithmetic(dtype: torch.dtype, tolerance: float, separable: bool) -> None:
    """Double agrees to the rounding of float32; the half types to some percent of the deviation at the worst pixel."""
    model, images = tiny_model(separable=separable, published=True), random_images(1, 64, 80)
    expected = outputs_of(model, images)
    converted = outputs_of(tiny_model(separable=separable, published=True).to(dtype), images.to(dtype))
    prepared = outputs_of(prepare_for_inference(model).to(dtype), images.to(dtype))
    for task, value in expected.items():
        assert converted[task].dtype == dtype
        assert relative_error(converted[task].float(), value) < tolerance
        assert relative_error(prepared[task].float(), value) < tolerance


def test_double_is_exact() -> None:
    """In double, strips and shortcuts differ from the plain order by nothing but rounding."""
    model, images = tiny_model(published=True).double(), random_images(1, 48, 80).double()
    for task, value in plain_network.PlainM2H(model)(images).items():
        assert relative_error(outputs_of(model, images)[task], value) < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", [(3, 30, 57), *(pytest.param(size, marks=pytest.mark.full) for size in [(1, 97, 131), (1, 224, 448)])]
)
def test_the_light_network_at_odd_sizes(size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP_BYTES", 8 << 20)
    model, images = plain_network.roughen(build_model(M2HConfig.published("light"))), random_images(*size)
    outputs = outputs_of(model, images)
    for task, value in plain_network.PlainM2H(model)(images).items():
        assert outputs[task].shape[-2:] == images.shape[-2:]
        assert relative_error(outputs[task], value) < 1e-4, task


def test_any_published_state_dict_loads_as_it_is() -> None:
    """Random weights under the published names, in any float type, end up where `published_state_dict` finds them."""
    model = build_model(M2HConfig.tiny())
    rng = np.random.default_rng(3)
    state = {
        name: torch.from_numpy(rng.normal(size=tuple(x.shape))).half() if x.is_floating_point() else torch.tensor(7)
        for name, x in published_state_dict(model).items()
    }
    load_published(model, state)
    for name, value in published_state_dict(model).items():
        torch.testing.assert_close(value, state[name].to(value.dtype), rtol=0, atol=0)
