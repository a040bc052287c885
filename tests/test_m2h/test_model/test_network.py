"""The network against the plain reference, its shapes, sizes and configuration."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from network_helpers import plain_network, random_images, relative_error, tiny_model

from m2h.model import M2HConfig, build_model, prepare_for_inference, strips
from m2h.model.backbone import Backbone
from m2h.model.blocks import double, stretch, stretched_mean
from m2h.model.cross_task import cut_windows, join_windows
from m2h.model.network import centre_padding

SIZES = [(2, 64, 96), (1, 37, 83), (1, 16, 16), (1, 50, 120)]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_agrees_with_the_plain_order(size: tuple[int, int, int], separable: bool) -> None:
    model, images = tiny_model(separable=separable, published=True), random_images(*size)
    expected = plain_network.PlainM2H(model)(images)
    for network in (model, prepare_for_inference(model)):
        with torch.inference_mode():
            outputs = network(images)
        for task, value in expected.items():
            assert relative_error(outputs[task], value) < 5e-5, task


@pytest.mark.parametrize("separable", [False, True])
def test_two_stage_heads_agree_with_the_plain_order(separable: bool) -> None:
    model = tiny_model(separable=separable, published=True, head_channels=(24, 16), attention_layers=3)
    images = random_images(1, 48, 80)
    with torch.inference_mode():
        outputs = model(images)
    for task, value in plain_network.PlainM2H(model)(images).items():
        assert relative_error(outputs[task], value) < 5e-5, task


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("size", [(2, 112, 48), (1, 93, 50)])
def test_strips_of_a_few_rows_join(
    size: tuple[int, int, int], separable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every map cut into strips as thin as they get, in heads that start above the size of the image and below it."""
    monkeypatch.setattr(strips, "STRIP_BYTES", 1)
    model = tiny_model(separable=separable, published=True, head_channels=(24, 16))
    images = random_images(*size)
    with torch.inference_mode():
        outputs = model(images)
    for task, value in plain_network.PlainM2H(model)(images).items():
        assert relative_error(outputs[task], value) < 5e-5, task


@pytest.mark.parametrize("size", [(9, 5), (14, 10), (1, 10), (30, 7)])
def test_stretched_rows_are_rows_of_the_stretched_map(size: tuple[int, int]) -> None:
    x = random_images(2, 7, 5)
    whole = stretch(x, size)
    for start in range(size[0]):
        for stop in (start + 1, size[0]):
            rows = strips.stretched_rows(x, size, start, stop)
            torch.testing.assert_close(rows, whole[:, :, start:stop], rtol=0, atol=1e-5)


@pytest.mark.parametrize("separable", [False, True])
def test_training_and_inference_paths_agree(separable: bool) -> None:
    model, images = tiny_model(separable=separable), random_images(1, 64, 64)
    traced = model(images)
    with torch.inference_mode():
        outputs = model(images)
    for task, value in outputs.items():
        assert relative_error(traced[task].detach(), value) < 5e-5, task


def test_detail_reaches_the_heads() -> None:
    """Without its stem's projections the network with detail is the one without."""
    model, images = tiny_model(), random_images(1, 48, 80)
    plain = tiny_model(detail_channels=0)
    assert model.detail is not None
    with torch.inference_mode():
        outputs, without = model(images), plain(images)
        for project in model.detail.project.values():
            project.weight.zero_()
            project.bias.zero_()
        silent = model(images)
        prepared = prepare_for_inference(tiny_model())(images)
    for task, value in without.items():
        assert relative_error(silent[task], value) < 1e-6
        assert relative_error(outputs[task], value) > 0.01
        assert relative_error(prepared[task], outputs[task]) < 5e-5


def test_outputs_have_the_size_of_the_image() -> None:
    model = tiny_model()
    with torch.inference_mode():
        outputs = model(random_images(2, 45, 70))
    assert {task: tuple(x.shape) for task, x in outputs.items()} == {
        "depth": (2, 1, 45, 70),
        "semantics": (2, 7, 45, 70),
        "normals": (2, 3, 45, 70),
        "edges": (2, 1, 45, 70),
    }
    assert (outputs["depth"] >= 0.001).all()
    torch.testing.assert_close(outputs["normals"].norm(dim=1), torch.ones(2, 45, 70))


def test_cropping_cuts_what_squeezing_keeps() -> None:
    """With the padding cut away, an image equals the middle of the same image that was padded by hand."""
    model, images = tiny_model(), random_images(1, 45, 70)
    left, right, top, bottom = centre_padding((45, 70), 16)
    assert (left, right, top, bottom) == (5, 5, 1, 2)
    with torch.inference_mode():
        outputs = model(images, tasks=("depth", "edges"))
        padded = model(torch.nn.functional.pad(images, (left, right, top, bottom)), tasks=("depth", "edges"))
    for task in outputs:
        torch.testing.assert_close(outputs[task], padded[task][..., top : top + 45, left : left + 70])


def test_fewer_outputs_are_the_same_outputs() -> None:
    model, images = tiny_model(), random_images(1, 32, 48)
    with torch.inference_mode():
        everything = model(images)
        some = model(images, tasks=("semantics", "depth"))
    assert list(some) == ["depth", "semantics"]
    for task, value in some.items():
        torch.testing.assert_close(value, everything[task])
    with pytest.raises(ValueError, match=r"no such task .*flow"):
        model(images, tasks=("flow",))


def test_images_of_a_batch_do_not_mix() -> None:
    model, images = tiny_model(), random_images(3, 40, 56)
    with torch.inference_mode():
        together = model(images)
        alone = model(images[1:2])
    for task, value in alone.items():
        assert relative_error(together[task][1:2], value) < 5e-5


def test_wrong_images_are_rejected() -> None:
    model = tiny_model()
    for shape in [(1, 4, 32, 32), (3, 32, 32), (1, 3, 0, 32)]:
        with pytest.raises(ValueError, match=r"\[B, 3, H, W\]"):
            model(torch.zeros(shape))


def test_every_parameter_that_trains_gets_a_gradient() -> None:
    for separable in (False, True):
        model = build_model(M2HConfig.tiny(separable=separable, classes=5)).train()
        sum(x.square().mean() for x in model(random_images(2, 32, 32)).values()).backward()
        assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_a_network_may_have_fewer_tasks() -> None:
    config = replace(M2HConfig.tiny(), tasks=("normals", "depth"))
    outputs = build_model(config).eval()(random_images(1, 32, 32))
    assert list(outputs) == ["depth", "normals"]


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (M2HConfig.published("full"), 81_540_240),
        (M2HConfig.published("light"), 29_042_096),
        (M2HConfig.published("small"), 33_768_416),
        (replace(M2HConfig.published("full"), backbone="vit_base_patch14_dinov2"), 166_915_056),
        (replace(M2HConfig.published("light"), backbone="vit_base_patch14_dinov2"), 111_150_176),
    ],
    ids=["full", "light", "small", "full-base", "light-base"],
)
def test_parameter_counts(config: M2HConfig, parameters: int) -> None:
    with torch.device("meta"):
        model = build_model(config)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_taps_follow_the_depth() -> None:
    config = M2HConfig()
    assert config.tap_blocks(12) == (2, 5, 8, 11)
    assert config.tap_blocks(24) == (4, 11, 17, 23)
    assert config.tap_blocks(40) == (9, 19, 29, 39)
    with pytest.raises(ValueError, match="at least 4"):
        config.tap_blocks(3)


def test_position_codes_by_either_rule() -> None:
    """At the stored size both rules use the codes as they are; elsewhere they differ."""
    config = replace(M2HConfig.tiny(), image_size=64)
    ours, timms = Backbone(config).eval(), Backbone(replace(config, position_resize="timm")).eval()
    timms.load_state_dict(ours.state_dict())
    with torch.inference_mode():
        for size, same in [(64, True), (96, False)]:
            images = random_images(1, size, size)
            pairs = list(zip(ours(images), timms(images), strict=True))
            assert len(pairs) == 4
            assert all(torch.allclose(a[0], b[0], atol=1e-5) for a, b in pairs) == same


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"channels": 30}, "channels"),
        ({"head_channels": ()}, "head_channels"),
        ({"head_channels": (18,)}, "head_channels"),
        ({"tasks": ("depth", "depth")}, "tasks"),
        ({"tasks": ("flow",)}, "tasks"),
        ({"window": 0}, "window"),
        ({"min_depth": -1.0}, "min_depth"),
        ({"detail_channels": -1}, "detail_channels"),
        ({"taps": (3, 2, 1, 0)}, "taps"),
    ],
)
def test_impossible_configurations_are_rejected(changes: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        replace(M2HConfig.tiny(), **changes)


def test_unknown_published_name_and_classless_backbone_are_rejected() -> None:
    with pytest.raises(ValueError, match="full, light, small"):
        M2HConfig.published("large")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="class token"):
        build_model(M2HConfig(backbone="test_vit2", image_size=160, position_resize="timm"))


def test_windows_join_back_and_pad_right_and_bottom() -> None:
    x = torch.arange(2 * 3 * 5 * 8, dtype=torch.float32).view(2, 3, 5, 8)
    windows = cut_windows(x, 4)
    assert windows.shape == (2 * 2 * 2, 16, 3)
    torch.testing.assert_close(windows[1, 5], x[0, :, 1, 5])  # second window of the first row: columns 4-7
    assert windows[2, 4:].abs().sum() == 0  # rows 5-7 of the lower windows are padding
    torch.testing.assert_close(join_windows(windows, 4, (5, 8)), x)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 5), (6, 2)])
def test_means_of_stretched_maps(size: tuple[int, int]) -> None:
    x = random_images(2, *size)
    torch.testing.assert_close(stretched_mean(x, (7, 9)), stretch(x, (7, 9)).mean((2, 3), keepdim=True))
    doubled = (2 * size[0], 2 * size[1])
    torch.testing.assert_close(stretched_mean(x, doubled), double(x).mean((2, 3), keepdim=True))
