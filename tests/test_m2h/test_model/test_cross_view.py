"""The cross-view network: matching on exact geometry, neighbours and hints as inputs, and answers without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from network_helpers import plain_network, random_images, relative_error

from m2h.camera import Camera
from m2h.config import CrossViewConfig
from m2h.data.hints import corrupted_hint, training_hint, without_blocks
from m2h.data.loading import TargetConfig, to_tensors
from m2h.data.neighbours import ViewsConfig
from m2h.data.sample import Sample
from m2h.infer import DepthHint, InferenceConfig, Predictor, TorchNetwork
from m2h.losses import depth_error_loss
from m2h.model import M2H, M2HConfig, Neighbours, build_model, prepare_for_inference
from m2h.model.cross_view import CostVolume, sampling
from m2h.model.hints import hint_maps, small_hint
from m2h.record import CheckpointRecord, Preprocessing
from m2h.views import View, projection, view_score
from mapping.camera import Intrinsics

SIZE = (64, 96)
CAMERA = Camera(80.0, 80.0, 47.5, 31.5)


def small_config() -> M2HConfig:
    cross = CrossViewConfig(channels=8, planes=12, widths=(16, 16, 16, 16))
    return replace(M2HConfig.cross(classes=7), channels=16, head_channels=(8,), cross_view=cross)


@pytest.fixture(scope="module")
def model() -> M2H:
    torch.manual_seed(0)
    return plain_network.roughen(build_model(small_config())).eval()


def neighbours_of(model: M2H, count: int = 2, size: tuple[int, int] = SIZE) -> Neighbours:
    images = random_images(count, *size, seed=3)
    T = np.eye(4)
    rows = []
    for number in range(count):
        T[:3, 3] = [0.1 + 0.2 * number, 0.02, 0.01]
        rows.append(projection(CAMERA, CAMERA, T, 1.0))
    with torch.no_grad():
        features = model.match(images)[None]
    return Neighbours(features, torch.tensor(np.stack(rows), dtype=torch.float32)[None], torch.ones(1, count).bool())


def test_projection_finds_a_point_where_the_other_camera_sees_it() -> None:
    other = Camera(60.0, 62.0, 40.0, 30.0)
    angle = 0.3
    T_other_own = np.eye(4)
    T_other_own[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    T_other_own[:3, 3] = [0.3, -0.1, 0.05]
    point = np.array([0.4, -0.2, 2.5])  # in the own camera, metres
    factor = 1.25
    u, v = CAMERA.fx * point[0] / point[2] + CAMERA.cx, CAMERA.fy * point[1] / point[2] + CAMERA.cy
    canonical = point[2] / factor
    x, y, z = projection(CAMERA, other, T_other_own, factor) @ [u * canonical, v * canonical, canonical, 1.0]
    there = T_other_own[:3, :3] @ point + T_other_own[:3, 3]
    expected = [other.fx * there[0] / there[2] + other.cx, other.fy * there[1] / there[2] + other.cy]
    np.testing.assert_allclose([x / z, y / z], expected, atol=1e-9)


def test_cost_volume_is_highest_at_the_true_depth() -> None:
    """A wall with a random texture of features, seen from two places: the best plane is the wall's."""
    config = CrossViewConfig(channels=8, planes=12, near=0.5, far=6.0)
    volume = CostVolume(config)
    truth = float(1 / volume.inverse_depths[0, 7])
    baseline, stride = 0.3, 4
    height, width = SIZE[0] // stride, SIZE[1] // stride
    coarse = torch.randn(1, 8, height // 4, width, generator=torch.Generator().manual_seed(1))
    wide = torch.nn.functional.interpolate(coarse, (height, 16 * width), mode="bicubic", align_corners=False)
    shift = CAMERA.fx * baseline / truth / stride  # of the wall between the two views, in feature pixels
    columns = (torch.arange(width) + 0.5) * 4 + 4 * width

    def view(offset: float) -> torch.Tensor:
        x = ((columns + 4 * offset) / wide.shape[-1]) * 2 - 1
        y = ((torch.arange(height) + 0.5) / height) * 2 - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
        return torch.nn.functional.normalize(torch.nn.functional.grid_sample(wide, grid, align_corners=False), dim=1)

    T_other_own = np.eye(4)
    T_other_own[0, 3] = -baseline  # the other camera stands to the right
    P = torch.tensor(projection(CAMERA, CAMERA, T_other_own, 1.0), dtype=torch.float32)[None, None]
    cost, seen = volume(view(0.0), Neighbours(view(shift)[:, None], P, torch.ones(1, 1).bool()))
    inner = cost[0, :, 2:-2, width // 2 : -2]
    assert cost.shape == (1, 12, height, width)
    assert seen.shape == cost.shape
    # Its neighbours are about half a pixel of the features off.
    assert float(((inner.argmax(dim=0) - 7).abs() <= 1).float().mean()) > 0.98
    assert int(inner.mean(dim=(1, 2)).argmax()) == 7
    assert float(inner[7].mean()) > 0.95


def test_matching_alone_teaches_what_follows_the_backbone(model: M2H) -> None:
    """Without tasks the logits of the planes are left, and the features of the neighbours learn too."""
    other = random_images(2, *SIZE, seed=3).requires_grad_()
    features = model.match(other, through_backbone=False)[None]
    outputs = model(random_images(1, *SIZE), neighbours_of(model)._replace(views=features), None, ())
    assert list(outputs) == ["depth_planes", "depth_plane_logs"]
    assert outputs["depth_planes"].shape == (1, 2, 12, SIZE[0] // 4, SIZE[1] // 4)
    gradients = torch.autograd.grad(
        outputs["depth_planes"].square().mean(), list(model.parameters()), allow_unused=True
    )
    reached = {
        name.split(".")[0]
        for (name, _), value in zip(model.named_parameters(), gradients, strict=True)
        if value is not None
    }
    assert reached == {"matching", "plane_filter"}
    assert other.grad is None


def test_scale_is_asked_of_single_images_at_their_own_size(model: M2H) -> None:
    """At another size than the rest, where the record names one; depth comes at the image's size all the same."""
    image = np.random.default_rng(2).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    camera = Intrinsics(fx=100.0, fy=100.0, cx=63.5, cy=47.5, width=128, height=96)

    def predictor(size: tuple[int, int], single: tuple[int, int] | None) -> Predictor:
        preprocessing = Preprocessing(policy="fit", size=size)
        record = CheckpointRecord(small_config(), preprocessing, focal=80.0, single_size=single)
        return Predictor(TorchNetwork(model, torch.device("cpu"), InferenceConfig(device="cpu")), record)

    alone = predictor((96, 128), (48, 64)).depth_alone(image, camera)
    assert alone.shape == (96, 128)
    np.testing.assert_array_equal(alone, predictor((48, 64), None)(image, camera).depth)
    assert not np.array_equal(alone, predictor((96, 128), None).depth_alone(image, camera))


def test_positions_in_neighbours_keep_their_precision_under_autocast(model: M2H) -> None:
    """In bfloat16 they would be off by up to two pixels, and matching would be learnt on noise."""
    neighbours = neighbours_of(model)
    size, inverse_depths = (SIZE[0] // 4, SIZE[1] // 4), model.cost_volume.inverse_depths
    exact, _ = sampling(neighbours, inverse_depths, size, 4)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, _ = sampling(neighbours, inverse_depths, size, 4)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0, atol=1e-6)


def test_points_behind_or_beside_a_neighbour_count_as_not_seen() -> None:
    volume = CostVolume(CrossViewConfig(channels=4, planes=8))
    features = torch.nn.functional.normalize(torch.ones(1, 4, 16, 24), dim=1)
    behind = np.diag([-1.0, 1.0, -1.0, 1.0])
    P = torch.tensor(projection(CAMERA, CAMERA, behind, 1.0), dtype=torch.float32)[None, None]
    cost, seen = volume(features, Neighbours(features[:, None], P, torch.ones(1, 1).bool()))
    assert float(cost.abs().max()) == 0
    assert float(seen.max()) == 0


def test_neighbours_that_only_fill_the_batch_change_nothing(model: M2H) -> None:
    images, neighbours = random_images(1, *SIZE), neighbours_of(model)
    one = neighbours._replace(
        views=neighbours.views[:, :1], projections=neighbours.projections[:, :1], valid=neighbours.valid[:, :1]
    )
    filled = neighbours._replace(valid=torch.tensor([[True, False]]))
    with torch.no_grad():
        expected, found = model(images, one), model(images, filled)
    for task, value in expected.items():
        torch.testing.assert_close(found[task], value)


def test_neighbours_and_hint_reach_the_depth_and_none_is_needed(model: M2H) -> None:
    images = random_images(1, *SIZE)
    hint = torch.cat([torch.full((1, 1, *SIZE), 1.5), torch.ones(1, 1, *SIZE)], dim=1)
    with torch.no_grad():
        alone, together, hinted = model(images), model(images, neighbours_of(model)), model(images, hint=hint)
        empty = model(images, hint=torch.zeros(1, 2, *SIZE))
    assert list(alone) == ["depth", "depth_error", "semantics", "normals", "edges"]
    assert all(value.shape[-2:] == SIZE for value in alone.values())
    assert relative_error(together["depth"], alone["depth"]) > 1e-3
    assert relative_error(hinted["depth"], alone["depth"]) > 1e-3
    torch.testing.assert_close(empty["depth"], alone["depth"])


def test_images_of_neighbours_do_as_well_as_their_features(model: M2H) -> None:
    images, others = random_images(1, *SIZE), random_images(2, *SIZE, seed=3)
    neighbours = neighbours_of(model)
    with torch.no_grad():
        torch.testing.assert_close(
            model(images, neighbours._replace(views=others[None]))["depth"], model(images, neighbours)["depth"]
        )


def test_padding_moves_the_projections_with_the_pixels(model: M2H) -> None:
    """The volume of an image that needs padding equals that of the padded image with a moved camera."""
    size = (56, 80)  # padded by 4 rows and 8 columns on either side
    camera, padded = Camera(80.0, 80.0, 39.5, 27.5), Camera(80.0, 80.0, 47.5, 31.5)
    images, others = random_images(1, *size), random_images(1, *size, seed=4)
    T = np.eye(4)
    T[:3, 3] = [0.2, 0.0, 0.0]

    def neighbours(views: torch.Tensor, c: Camera) -> Neighbours:
        P = torch.tensor(projection(c, c, T, 1.0), dtype=torch.float32)[None, None]
        return Neighbours(views[:, None], P, torch.ones(1, 1).bool())

    canvas = torch.nn.functional.pad(images, (8, 8, 4, 4)), torch.nn.functional.pad(others, (8, 8, 4, 4))
    with torch.no_grad():
        small = model(images, neighbours(others, camera))["depth"]
        large = model(canvas[0], neighbours(canvas[1], padded))["depth"]
    torch.testing.assert_close(small, large[..., 4:-4, 8:-8])


def test_inference_copy_gives_the_same_and_strides_give_smaller_maps(model: M2H) -> None:
    images, neighbours = random_images(1, *SIZE), neighbours_of(model)
    prepared = prepare_for_inference(model)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in prepared.modules())
    with torch.inference_mode():
        fast = prepared(images, neighbours)
    with torch.no_grad():
        plain, half = model(images, neighbours), model(images, neighbours, stride=2)
    for task, value in plain.items():
        assert relative_error(fast[task], value) < 1e-4
        assert half[task].shape[-2:] == (SIZE[0] // 2, SIZE[1] // 2)


def test_a_network_for_single_images_refuses_neighbours() -> None:
    single = build_model(M2HConfig.tiny(classes=7))
    with pytest.raises(ValueError, match="sees one image at a time"):
        single(random_images(1, 32, 32), hint=torch.zeros(1, 2, 32, 32))
    with pytest.raises(ValueError, match="sees one image at a time"):
        single.match(random_images(1, 32, 32))


def test_hint_maps_hold_log_depth_and_confidence_where_known() -> None:
    hint = torch.zeros(1, 2, 8, 8)
    hint[:, 0, :4], hint[:, 1, :4] = 4.0, 0.5
    maps = hint_maps(small_hint(hint, torch.zeros(1, 3, 2, 2)))
    torch.testing.assert_close(maps[0, :, 0, 0], torch.tensor([np.log(2.0), 0.5], dtype=torch.float32))
    assert float(maps[0, :, 1].abs().max()) == 0


def test_corrupted_hints_resemble_the_depth_and_have_holes() -> None:
    rng = np.random.default_rng(5)
    depth = np.full((60, 80), 2.0, np.float32)
    hints = [corrupted_hint(depth, rng) for _ in range(20)]
    known = np.concatenate([hint[0][hint[0] > 0] for hint in hints])
    assert 0.2 < np.mean([np.mean(hint[0] > 0) for hint in hints]) < 0.98
    assert np.median(np.abs(np.log(known / 2.0))) < 0.08
    assert all(((hint[1] >= 0) & (hint[1] <= 1)).all() and (hint[1][hint[0] == 0] == 0).all() for hint in hints)


def test_the_gate_decides_between_the_hint_and_the_planes_pixel_by_pixel() -> None:
    torch.manual_seed(0)
    model = plain_network.roughen(build_model(small_config())).eval()
    last = model.heads["depth"].gate.mix[-1]
    hint = torch.zeros(1, 2, *SIZE)
    hint[:, 0, :, 1::2] = torch.linspace(1.0, 4.0, SIZE[1] // 2)
    hint[:, 1] = (hint[:, 0] > 0).float()
    images = random_images(1, *SIZE)
    torch.nn.init.zeros_(last.weight)
    found = {}
    for belief in (-30.0, 0.0, 30.0):
        last.bias.data[2] = belief
        with torch.no_grad():
            found[belief] = model(images, hint=hint, tasks=["depth"])["depth"]
    known = hint[:, :1] > 0
    torch.testing.assert_close(found[30.0][known], hint[:, :1][known], rtol=1e-4, atol=0)
    torch.testing.assert_close(found[30.0][~known], found[-30.0][~known], rtol=1e-4, atol=0)
    middle = torch.sqrt(found[30.0] * found[-30.0])
    torch.testing.assert_close(found[0.0], middle, rtol=1e-4, atol=0)


def test_samples_are_shown_their_own_hint_with_and_without_holes() -> None:
    rng = np.random.default_rng(2)
    hint = np.stack([np.full((60, 80), 3.0), np.full((60, 80), 0.7)], axis=-1).astype(np.float32)
    depth = np.full((60, 80), 2.0, np.float32)
    sample = Sample("one", np.zeros((60, 80, 3), np.uint8), depth=depth, hint=hint)
    shown = [training_hint(sample, rng) for _ in range(40)]
    own = [one for one in shown if np.isin(one[0], [0, 3.0]).all()]
    whole = [one for one in own if (one[0] > 0).all()]
    assert 20 < len(own) < 40
    assert 5 < len(whole) < len(own)
    assert all(np.array_equal(one[0] > 0, one[1] > 0) for one in own)
    holes = without_blocks(np.ascontiguousarray(hint.transpose(2, 0, 1)), np.random.default_rng(0))
    assert 0.3 < np.mean(holes[0] > 0) < 1
    assert not training_hint(replace(sample, hint=None, depth=None), rng).any()


def test_view_score_prefers_a_baseline_and_needs_overlap() -> None:
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[1, 0, 3] = 0.25
    poses[2, 0, 3] = 0.05
    poses[3, :3, :3] = np.diag([-1, 1, -1])  # looks the other way
    poses[3, 0, 3] = 0.25
    poses[4] = np.nan
    score = view_score(poses, 0, CAMERA, SIZE)
    assert score[1] > score[2] > 0
    assert score[0] == score[3] == score[4] == 0


def predictor_of(model: M2H, **changes: object) -> Predictor:
    record = CheckpointRecord(
        config=model.config, preprocessing=Preprocessing(policy="fit", size=SIZE), focal=80.0, **changes
    )
    options = InferenceConfig(device="cpu", keep_memory=False)
    return Predictor(TorchNetwork(model, torch.device("cpu"), options), record, options)


def test_depth_follows_the_focal_length_and_poses_in_proportion(model: M2H) -> None:
    """The same pixels through a lens of twice the focal length: depth is twice as large, and nothing else changes."""
    predictor = predictor_of(model)
    rng = np.random.default_rng(0)
    one, two = (rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for _ in range(2))

    def depth(factor: float) -> np.ndarray:
        camera = Camera(80.0 * factor, 80.0 * factor, 47.5, 31.5)
        T = np.eye(4)
        # Twice the focal length: a point at twice the depth at the same pixel; sideways shifts of the camera stay as they are.
        T[0, 3] = 0.2
        other = predictor.match(View(two, camera, T))
        found = predictor.predict_view(View(one, camera, np.eye(4)), [other]).depth
        assert found is not None
        return found

    np.testing.assert_allclose(depth(2.0), 2 * depth(1.0), rtol=1e-4)


def test_confidence_and_labels_follow_the_calibration(model: M2H) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    view = View(rgb, CAMERA, np.eye(4))
    plain = predictor_of(model).predict_view(view)
    careful = predictor_of(model, depth_error_scale=2.0, label_temperature=3.0, label_threshold=0.5).predict_view(view)
    assert plain.confidence is not None
    assert careful.confidence is not None
    assert careful.label_confidence is not None
    assert careful.labels is not None
    assert (careful.confidence < plain.confidence).all()
    assert (careful.labels[careful.label_confidence < 0.5] == 0).all()
    np.testing.assert_array_equal(plain.depth, careful.depth)


def test_a_hint_at_the_images_size_is_used(model: M2H) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (48, 96, 3), dtype=np.uint8)
    view = View(rgb, Camera(80.0, 80.0, 47.5, 23.5), np.eye(4))
    predictor = predictor_of(model)
    hint = DepthHint(np.full((48, 96), 1.3, np.float32), np.ones((48, 96), np.float32))
    nothing = DepthHint(np.zeros((48, 96), np.float32), np.zeros((48, 96), np.float32))
    without, hinted = predictor.predict_view(view), predictor.predict_view(view, hint=hint)
    np.testing.assert_allclose(predictor.predict_view(view, hint=nothing).depth, without.depth, rtol=1e-5)
    assert without.depth is not None
    assert hinted.depth is not None
    assert float(np.abs(hinted.depth - without.depth).max()) > 1e-4


def test_one_task_is_answered_as_among_all(model: M2H) -> None:
    view = View(np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8), CAMERA, np.eye(4))
    predictor = predictor_of(model)
    everything, depth = predictor.predict_view(view), predictor.predict_view(view, tasks=("depth",))
    np.testing.assert_array_equal(depth.depth, everything.depth)
    assert everything.labels is not None
    assert depth.labels is None


def test_depth_error_loss_is_least_at_the_mean_error() -> None:
    target, depth = torch.full((1, 1, 4, 4), 2.0), torch.full((1, 1, 4, 4), 2.2)
    scale = float(np.log(np.log(1.1)))
    losses = [float(depth_error_loss(torch.full((1, 1, 4, 4), scale + d), depth, target)) for d in (-0.3, 0.0, 0.3)]
    assert losses[1] < min(losses[0], losses[2])


def test_targets_at_half_size_keep_canonical_depth() -> None:
    """Depth, hint and projections of a training sample mean the same depth, whatever the stride of the targets."""
    depth = np.full((64, 96), 2.0, np.float32)
    sample = Sample("a", np.zeros((64, 96, 3), np.uint8), depth, camera=CAMERA, T_world_camera=np.eye(4))
    found = []
    for stride in (1, 2):
        config = TargetConfig(Preprocessing(policy="fit", size=SIZE), None, 100.0, 0, ViewsConfig(), stride)
        found.append(float(to_tensors(sample, 1.0, config)["depth"].median()))
    assert found == pytest.approx([2.0 * 100 / 80] * 2)
