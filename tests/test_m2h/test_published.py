"""Recorded outputs of the published network, and its state dicts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from network_helpers import REFERENCE, load_module, tiny_model

from m2h.checkpoint import CheckpointError, load_published, published_state_dict
from m2h.model import M2H, M2HConfig, build_model, prepare_for_inference

pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason="recorded outputs of the published network are not here")


def published_shapes(variant: str) -> dict[str, tuple[int, ...]]:
    listed = json.loads((REFERENCE / f"m2h_state_dict_{variant}.json").read_text())
    return {name: tuple(shape) for name, shape in listed.items()}


def filled_model(variant: str) -> M2H:
    recipe = load_module(REFERENCE / "m2h_parity" / "recipe.py")
    shapes = published_shapes(variant)
    model = build_model(M2HConfig.published(variant)).eval()
    load_published(model, {name: torch.from_numpy(np.asarray(recipe.fill(name, s))) for name, s in shapes.items()})
    return model


@pytest.mark.parametrize("variant", ["full", "light"])
def test_names_and_shapes_are_the_published_ones(variant: str) -> None:
    with torch.device("meta"):
        model = build_model(M2HConfig.published(variant))
    assert {name: tuple(x.shape) for name, x in published_state_dict(model).items()} == published_shapes(variant)


CASES = [
    pytest.param("light", (1, 224, 224)),
    pytest.param("light", (2, 225, 301), marks=pytest.mark.full),
    pytest.param("full", (1, 224, 224), marks=pytest.mark.full),
    pytest.param("full", (2, 225, 301), marks=pytest.mark.full),
]


@pytest.mark.parametrize(("variant", "size"), CASES)
def test_outputs_are_the_published_ones(variant: str, size: tuple[int, int, int]) -> None:
    torch.set_num_threads(2)
    recipe = load_module(REFERENCE / "m2h_parity" / "recipe.py")
    images = torch.from_numpy((recipe.image(*size) - recipe.MEAN) / recipe.STD)
    recorded = np.load(REFERENCE / "m2h_parity" / f"{variant}_vit_small_{'x'.join(map(str, size))}.npz")
    with torch.inference_mode():
        outputs = prepare_for_inference(filled_model(variant))(images)
    for task, expected in recorded.items():
        step = 8 if task == "semantics" else 4
        actual = outputs[task][..., ::step, ::step].numpy()
        assert np.abs(actual - expected).max() < 1e-4 * expected.std(), task


@pytest.mark.parametrize("separable", [False, True])
def test_loading_inverts_saving(separable: bool) -> None:
    model = tiny_model(separable=separable, published=True)
    other = build_model(model.config)
    load_published(other, published_state_dict(model))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)


def test_wrong_state_dicts_are_named_and_change_nothing() -> None:
    model = tiny_model(published=True)
    state = {name: value + 1 for name, value in published_state_dict(model).items()}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shortened = {name: value for name, value in state.items() if name != "mlt_head.seg_out.final_conv.bias"}
    with pytest.raises(CheckpointError, match=r"1 missing \(mlt_head\.seg_out\.final_conv\.bias\)$"):
        load_published(model, shortened)
    with pytest.raises(CheckpointError, match=r"1 unexpected \(extra\)"):
        load_published(model, state | {"extra": torch.zeros(1)})
    with pytest.raises(
        CheckpointError, match=r"1 wrong shape \(mlt_head\.convs\.0\.conv\.pointwise\.weight \[1\] for "
    ):
        load_published(model, state | {"mlt_head.convs.0.conv.pointwise.weight": torch.zeros(1)})
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name])
