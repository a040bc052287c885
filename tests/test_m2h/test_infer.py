"""The predictor: exact undoing of resize and padding, units and axes, batches, precision, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from network_helpers import tiny_model

from m2h.checkpoint import save_checkpoint
from m2h.infer import InferenceConfig, Predictor, choose_device
from m2h.model import M2HConfig
from m2h.preprocess import place, prepare, restore
from m2h.record import CheckpointRecord, Preprocessing

POLICIES = [
    Preprocessing(policy="squash", size=(48, 80)),
    Preprocessing(policy="fit", size=(96, 96)),
    Preprocessing(policy="fit", size=(64, 160)),
    Preprocessing(policy="native", size=None),
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def coordinates(images: torch.Tensor, tasks: object) -> dict[str, torch.Tensor]:
    """A network whose depth says in which column of its input a pixel lies, and whose edges say in which row."""
    batch, _, height, width = images.shape
    rows = torch.arange(height).view(1, 1, -1, 1).expand(batch, 1, height, width).float()
    columns = torch.arange(width).view(1, 1, 1, -1).expand(batch, 1, height, width).float()
    return {"depth": columns + 10, "edges": rows / 20}


coordinates.has_fixed_size = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("preprocessing", POLICIES)
def test_each_pixel_gets_the_answer_for_its_own_place(preprocessing: Preprocessing) -> None:
    """A map that is linear in the input's coordinates stays linear, so interior pixels must read exactly their own."""
    height, width = 60, 90
    record = CheckpointRecord(config=replace(M2HConfig.tiny(), tasks=("depth", "edges")), preprocessing=preprocessing)
    predictions = Predictor(coordinates, record)(noise(height, width))
    p = place((height, width), preprocessing)
    u = (np.arange(width) + 0.5) * p.scaled[1] / width - 0.5 + p.left
    v = (np.arange(height) + 0.5) * p.scaled[0] / height - 0.5 + p.top
    inner_u = (u >= p.left) & (u <= p.left + p.scaled[1] - 1)
    inner_v = (v >= p.top) & (v <= p.top + p.scaled[0] - 1)
    assert inner_u.sum() >= width - 2
    assert predictions.depth is not None
    assert predictions.edges is not None
    np.testing.assert_allclose(predictions.depth[:, inner_u] - 10, np.tile(u[inner_u], (height, 1)), atol=1e-4)
    odds = predictions.edges[inner_v, 0].astype(np.float64)
    np.testing.assert_allclose(20 * np.log(odds / (1 - odds)), v[inner_v], atol=0.01)


def test_fit_keeps_the_aspect_ratio_and_centres() -> None:
    p = place((480, 640), Preprocessing(policy="fit", size=(224, 224)))
    assert (p.scaled, p.top, p.left) == ((168, 224), 28, 0)
    p = place((640, 480), Preprocessing(policy="fit", size=(224, 224)))
    assert (p.scaled, p.top, p.left) == ((224, 168), 0, 28)


def test_an_image_on_end_is_fitted_into_an_input_on_end() -> None:
    landscape = Preprocessing(policy="fit", size=(192, 256))
    p = place((640, 480), landscape, turnable=True)
    assert (p.canvas, p.scaled, p.top, p.left) == ((256, 192), (256, 192), 0, 0)
    for image in [(480, 640), (400, 400)]:
        assert place(image, landscape, turnable=True) == place(image, landscape)
    on_end = replace(landscape, size=(256, 192))
    assert place((480, 640), on_end, turnable=True).canvas == (192, 256)
    squashed = replace(landscape, policy="squash")
    assert place((640, 480), squashed, turnable=True) == place((640, 480), squashed)


@pytest.mark.parametrize("has_fixed_size", [False, True])
def test_only_a_network_that_takes_any_size_is_given_an_input_on_end(*, has_fixed_size: bool) -> None:
    sizes = []

    def network(images: torch.Tensor, *_: object) -> dict[str, torch.Tensor]:
        sizes.append(tuple(images.shape[-2:]))
        return {"depth": images[:, :1]}

    network.has_fixed_size = has_fixed_size  # type: ignore[attr-defined]
    record = CheckpointRecord(
        config=replace(M2HConfig.tiny(), tasks=("depth",)), preprocessing=Preprocessing(policy="fit", size=(48, 64))
    )
    depth = Predictor(network, record)(noise(64, 48)).depth  # type: ignore[arg-type]
    assert depth is not None
    assert depth.shape == (64, 48)
    assert sizes == [(48, 64) if has_fixed_size else (64, 48)]


def test_input_is_the_normalised_image() -> None:
    """Worked by hand: 255 red is (1 - 0.5) / 0.25 = 2, padding is 0."""
    preprocessing = Preprocessing(policy="fit", size=(4, 8), mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0))
    image = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    image[..., 0] = 255
    p = place((4, 4), preprocessing)
    x = prepare(image, p, preprocessing)
    assert x.shape == (1, 3, 4, 8)
    torch.testing.assert_close(x[0, :, 0, 2:6], torch.tensor([[2.0], [-1.0], [-0.5]]).expand(3, 4))
    assert x[..., :2].abs().sum() == x[..., 6:].abs().sum() == 0
    torch.testing.assert_close(restore(x, p), x[..., 2:6])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    model = tiny_model()
    preprocessing = Preprocessing(policy="fit", size=(48, 64))
    record = CheckpointRecord(
        config=model.config, preprocessing=preprocessing, normal_signs=(1, -1, -1), depth_scale=2.0, focal=50.0
    )
    save_checkpoint(path, model, record)
    return path


def test_predictions_of_a_checkpoint(checkpoint: Path) -> None:
    predictions = Predictor.from_checkpoint(checkpoint)(noise(90, 120))
    for name, shape in {"depth": (), "labels": (), "label_confidence": (), "normals": (3,), "edges": ()}.items():
        assert getattr(predictions, name).shape == (90, 120, *shape)
    assert predictions.labels is not None
    assert predictions.labels.dtype == np.uint8
    assert predictions.labels.max() < 7
    assert predictions.normals is not None
    np.testing.assert_allclose(np.linalg.norm(predictions.normals, axis=-1), 1, atol=1e-5)
    assert predictions.edges is not None
    assert 0 <= predictions.edges.min() <= predictions.edges.max() <= 1
    assert predictions.label_confidence is not None
    assert predictions.label_confidence.min() >= 1 / 7 - 1e-6


def test_depth_scales_with_the_focal_length(checkpoint: Path) -> None:
    """120 pixels wide shrink to 64: fx 93.75 becomes the 50 the network was trained for, twice that doubles depth."""
    predictor, image = Predictor.from_checkpoint(checkpoint), noise(90, 120)
    plain = predictor(image).depth
    same = predictor(image, SimpleNamespace(fx=93.75, width=120, height=90)).depth
    double = predictor(image, SimpleNamespace(fx=187.5, width=120, height=90)).depth
    assert plain is not None
    np.testing.assert_allclose(same, plain, rtol=1e-6)
    np.testing.assert_allclose(double, 2 * plain, rtol=1e-6)


def test_record_turns_the_normals(checkpoint: Path) -> None:
    predictor, image = Predictor.from_checkpoint(checkpoint), noise(48, 64)
    turned = predictor(image).normals
    predictor.record = replace(predictor.record, normal_signs=(1, 1, 1))
    plain = predictor(image).normals
    np.testing.assert_allclose(turned, plain * np.array([1, -1, -1]), atol=1e-6)


def test_batches_and_streams_equal_single_images(checkpoint: Path) -> None:
    images = [noise(60, 80, seed) for seed in range(5)]
    predictor = Predictor.from_checkpoint(checkpoint, InferenceConfig(batch_size=2))
    singles = [predictor(image) for image in images]
    for many in (predictor.predict_batch(images), list(predictor.stream(iter(images)))):
        assert len(many) == 5
        for one, other in zip(singles, many, strict=True):
            np.testing.assert_allclose(one.depth, other.depth, atol=1e-4)
            assert np.mean(one.labels == other.labels) > 0.999


def test_some_tasks_only(checkpoint: Path) -> None:
    predictions = Predictor.from_checkpoint(checkpoint, InferenceConfig(tasks=("depth",)))(noise(48, 64))
    assert predictions.depth is not None
    assert predictions.labels is predictions.normals is predictions.edges is predictions.label_confidence is None


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_close(checkpoint: Path, dtype: str) -> None:
    image = noise(48, 64)
    full = Predictor.from_checkpoint(checkpoint)(image)
    half = Predictor.from_checkpoint(checkpoint, InferenceConfig(dtype=dtype))(image)  # type: ignore[arg-type]
    assert full.depth is not None
    assert half.depth is not None
    assert half.depth.dtype == np.float32
    assert np.abs(half.depth - full.depth).mean() < 0.1 * full.depth.std()
    assert np.mean(half.labels == full.labels) > 0.9


def test_predictor_leaves_its_input_alone(checkpoint: Path) -> None:
    image = noise(48, 64)
    image.flags.writeable = False
    before = image.copy()
    Predictor.from_checkpoint(checkpoint)(image)
    np.testing.assert_array_equal(image, before)


def test_wrong_input_is_rejected(checkpoint: Path) -> None:
    predictor = Predictor.from_checkpoint(checkpoint)
    for image in (noise(48, 64).astype(np.float32), noise(48, 64)[..., 0], noise(48, 64)[..., :2]):
        with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\)"):
            predictor(image)
    with pytest.raises(ValueError, match="all of one size"):
        predictor.predict_batch([noise(48, 64), noise(48, 65)])
    with pytest.raises(ValueError, match="at least one"):
        predictor.predict_batch([])
    with pytest.raises(ValueError, match="intrinsics are of 90x120"):
        predictor(noise(48, 64), SimpleNamespace(fx=1.0, width=120, height=90))


def test_impossible_configurations_are_rejected(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        InferenceConfig(batch_size=0)
    with pytest.raises(ValueError, match="no torch device"):
        choose_device("abacus")
    model = tiny_model(tasks=("depth", "edges"))
    record = CheckpointRecord(config=model.config)
    with pytest.raises(ValueError, match="the network has no normals"):
        Predictor(coordinates, record, InferenceConfig(tasks=("normals",)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_named() -> None:
    assert choose_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="no CUDA device"):
        choose_device("cuda")
