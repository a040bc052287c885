"""Each loss: a case worked by hand, its gradient against differences, and silence where nothing is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from m2h import losses
from m2h.losses import LossConfig, compute_losses


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def rand(*shape: int, seed: int = 0, low: float = 0.5, high: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * (high - low) + low


def depth(*rows: list[float]) -> Tensor:
    return torch.tensor([[rows]], dtype=torch.float64)


# Hand-worked cases ------------------------------------------------------------------------------------------------------


def test_l1_by_hand() -> None:
    assert losses.l1_loss(depth([1.0, 2.0, 9.0]), depth([2.0, 4.0, 0.0])) == 1.5  # (1 + 2) / 2; 0 is unknown


def test_berhu_by_hand() -> None:
    """Errors 1 and 10: c = 2; the first counts 1, the second (100 + 4) / 4 = 26."""
    assert losses.berhu_loss(depth([2.0, 12.0]), depth([1.0, 2.0])) == pytest.approx(13.5)


def test_silog_by_hand() -> None:
    """g = (ln 2, 0): mean of squares ln2^2 / 2, squared mean ln2^2 / 4; variance 1 leaves the standard deviation ln2 / 2."""
    d, t = depth([2.0, 3.0]), depth([1.0, 3.0])
    assert losses.silog_loss(d, t, 1.0) == pytest.approx(math.log(2) / 2, abs=2e-4)
    assert losses.silog_loss(d, t, 0.0) == pytest.approx(math.log(2) / math.sqrt(2), abs=2e-4)
    assert losses.silog_loss(5 * t, t, 1.0) == pytest.approx(0, abs=2e-4)  # a common scale is forgiven


def test_depth_gradient_by_hand() -> None:
    """ln d - ln t rises by ln 2 from column to column at the only scale; rows agree: (ln 2 + 0) / 2."""
    d, t = depth([1.0, 2.0], [1.0, 2.0]), depth([1.0, 1.0], [1.0, 1.0])
    assert losses.depth_gradient_loss(d, t, scales=1) == pytest.approx(math.log(2) / 2)
    assert losses.depth_gradient_loss(3 * t, t) == 0


def test_cross_entropy_by_hand() -> None:
    """Logits (0, ln 3): probabilities 1/4 and 3/4. Label 1 costs ln(4/3); label 0 is unknown."""
    logits = torch.tensor([0.0, math.log(3)], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    labels = torch.tensor([[[1, 0]]])
    assert losses.semantic_loss(logits, labels) == pytest.approx(math.log(4 / 3))
    assert losses.semantic_loss(logits, labels, 2.0) == pytest.approx(math.log(4 / 3) / 16)


def test_normals_by_hand() -> None:
    """(0, 0, -5) normalises to (0, 0, -1): 0 from itself, 2 from (0, -1, 0); a zero target is unknown."""
    n = torch.tensor([0.0, 0.0, -5.0], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 1, 3)
    t = torch.tensor([[0, 0, -1], [0, -1, 0], [0, 0, 0]], dtype=torch.float64).t().reshape(1, 3, 1, 3)
    assert losses.normal_loss(n, t) == pytest.approx(1.0)


def test_edges_by_hand() -> None:
    """Logit 0 costs ln 2 either way, 0.95 of it at an edge and 0.05 elsewhere; -1 is unknown."""
    logits = torch.zeros(1, 1, 1, 3, dtype=torch.float64)
    assert losses.edge_loss(logits, depth([1.0, 0.0, -1.0]), 0.95) == pytest.approx(math.log(2) / 2)
    assert losses.edge_loss(logits, depth([1.0, -1.0, -1.0]), 0.95) == pytest.approx(0.95 * math.log(2))


def test_edge_loss_is_the_weighted_bce_of_the_field() -> None:
    logits, target = rand(1, 1, 4, 5, low=-3), (rand(1, 1, 4, 5, seed=1, low=0, high=1) > 0.7).double()
    field = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, target, pos_weight=torch.tensor(0.95 / 0.05, dtype=torch.float64)
    )
    assert losses.edge_loss(logits, target, 0.95) == pytest.approx(float(field) * 0.05)


CAMERA = torch.tensor([[50.0, 60.0, 4.0, 3.0]], dtype=torch.float64)


def plane_depth(normal: Tensor, offset: float) -> Tensor:
    """Depth [1, 1, 7, 9] of the plane n . p = offset seen by CAMERA."""
    v, u = torch.meshgrid(torch.arange(7, dtype=torch.float64), torch.arange(9, dtype=torch.float64), indexing="ij")
    rays = torch.stack([(u - 4) / 50, (v - 3) / 60, torch.ones_like(u)])
    return (offset / (normal.view(3, 1, 1) * rays).sum(0)).view(1, 1, 7, 9)


@pytest.mark.parametrize("normal", [(0.0, 0.0, -1.0), (0.6, 0.0, -0.8), (0.0, -0.6, -0.8)])
def test_normals_of_planes(normal: tuple[float, float, float]) -> None:
    n = torch.tensor(normal, dtype=torch.float64)
    found = losses.normals_of_depth(plane_depth(n, -2.0), CAMERA)
    torch.testing.assert_close(found, n.view(1, 3, 1, 1).expand(1, 3, 5, 7))


def test_depth_and_normals_that_agree_cost_nothing() -> None:
    n = torch.tensor([0.6, 0.0, -0.8], dtype=torch.float64)
    d, all_smooth = plane_depth(n, -2.0), torch.ones(1, 1, 7, 9, dtype=torch.bool)
    normals = n.view(1, 3, 1, 1).expand(1, 3, 7, 9)
    assert losses.depth_normal_loss(d, normals, CAMERA, all_smooth) == pytest.approx(0, abs=1e-12)
    assert losses.depth_normal_loss(d, -normals, CAMERA, all_smooth) == pytest.approx(2)
    edge = all_smooth.clone()
    edge[0, 0, 3, 4] = False  # the pixel and its eight neighbours are ignored
    broken = d.clone()
    broken[0, 0, 3, 4] = 7.0
    assert losses.depth_normal_loss(broken, normals, CAMERA, edge) == pytest.approx(0, abs=1e-12)


def test_edge_semantic_by_hand() -> None:
    """Two certain classes side by side: the two columns at the boundary have strength 1, the outer two 0.

    With logit 0 everywhere half of it is missed: 2 of 4 columns times 1/2. Certain edges miss nothing.
    """
    logits = torch.full((1, 3, 2, 4), -50.0, dtype=torch.float64)
    logits[:, 1, :, :2] = logits[:, 2, :, 2:] = 50.0
    labels = torch.ones(1, 2, 4, dtype=torch.int64)
    zero = torch.zeros(1, 1, 2, 4, dtype=torch.float64)
    assert losses.edge_semantic_loss(zero, logits, labels) == pytest.approx(0.25)
    assert losses.edge_semantic_loss(zero + 60, logits, labels) == pytest.approx(0)


# Laws -------------------------------------------------------------------------------------------------------------------

LABELS = torch.tensor([[[0, 1, 2, 1, 0], [2, 2, 1, 0, 1], [1, 1, 2, 2, 1], [1, 0, 1, 2, 1]]])
HOLES = depth(
    [1.0, 2.0, 0.0, 1.5, 2.5], [0.0, 1.0, 3.0, 2.2, 1.1], [2.0, 1.7, 1.0, 0.9, 1.0], [1.0, 1.0, 2.0, 0.0, 1.3]
)
NORMALS = torch.nn.functional.normalize(rand(1, 3, 4, 5, low=-1, high=1, seed=3), dim=1) * (HOLES > 0)
SMALL_CAMERA = torch.tensor([[5.0, 6.0, 2.0, 1.5]], dtype=torch.float64)

GRADIENTS: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "l1": (lambda d: losses.l1_loss(d, HOLES), (rand(1, 1, 4, 5),)),
    "silog": (lambda d: losses.silog_loss(d, HOLES, 0.85), (rand(1, 1, 4, 5),)),
    "gradient": (lambda d: losses.depth_gradient_loss(d, HOLES), (rand(1, 1, 4, 5),)),
    "semantics": (lambda x: losses.semantic_loss(x, LABELS), (rand(1, 3, 4, 5, low=-2),)),
    "normals": (lambda n: losses.normal_loss(n, NORMALS), (rand(1, 3, 4, 5, low=-2, seed=5),)),
    "edges": (lambda x: losses.edge_loss(x, HOLES.clamp_max(1) - (HOLES == 2).double() * 2, 0.9), (rand(1, 1, 4, 5),)),
    "depth_normal": (
        lambda d, n: losses.depth_normal_loss(d, n, SMALL_CAMERA, torch.ones(1, 1, 4, 5, dtype=torch.bool)),
        (rand(1, 1, 4, 5), rand(1, 3, 4, 5, low=-2, seed=6)),
    ),
    "edge_semantic": (
        lambda e, x: losses.edge_semantic_loss(e, x, LABELS),
        (rand(1, 1, 4, 5, low=-2), rand(1, 3, 4, 5, low=-2, seed=7)),
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    function, inputs = GRADIENTS[name]
    assert torch.autograd.gradcheck(function, [x.clone().requires_grad_() for x in inputs])


def test_berhu_gradient_with_its_threshold_held() -> None:
    """The threshold is a constant of the batch: beyond it the slope is error / c, below it 1."""
    d = depth([2.0, 12.0]).requires_grad_()
    losses.berhu_loss(d, depth([1.0, 2.0])).backward()
    assert d.grad is not None
    torch.testing.assert_close(d.grad, depth([0.5, 2.5]))


def unknown_targets() -> dict[str, Tensor]:
    return {
        "depth": torch.zeros(1, 1, 6, 6),
        "semantics": torch.zeros(1, 6, 6, dtype=torch.int64),
        "normals": torch.zeros(1, 3, 6, 6),
        "edges": -torch.ones(1, 1, 6, 6),
        "camera": torch.tensor([[5.0, 5.0, 3.0, 3.0]]),
    }


def some_outputs() -> dict[str, Tensor]:
    channels = {"depth": 1, "semantics": 4, "normals": 3, "edges": 1, "depth_error": 1}
    outputs = {name: rand(1, n, 6, 6, seed=n).float().requires_grad_() for name, n in channels.items()}
    planes = {"depth_planes": (1, 2, 5, 3, 3), "depth_fine": (1, 1, 5, 3, 3)}
    logits = {name: rand(1, shape[1] * 5, 3, 3, seed=9).float().view(shape) for name, shape in planes.items()}
    return outputs | {name: value.requires_grad_() for name, value in logits.items()}


def log_planes() -> Tensor:
    return torch.linspace(-0.7, 1.6, 5).view(1, 5, 1, 1)


@pytest.mark.parametrize("kind", ["l1", "log", "silog", "berhu"])
def test_nothing_known_costs_nothing_and_moves_nothing(kind: str) -> None:
    outputs = some_outputs()
    config = LossConfig(depth_kind=kind, depth_planes=1, depth_fine=1, depth_error=1)
    logs = {"depth_plane_logs": log_planes(), "depth_fine_logs": log_planes().expand(1, 5, 3, 3)}
    terms = compute_losses(outputs | logs, unknown_targets(), config)
    assert list(terms) == list(losses.TERMS)
    total = torch.stack(list(terms.values())).sum()
    assert float(total.detach()) == pytest.approx(0, abs=1e-6)
    total.backward()
    for value in outputs.values():
        assert value.grad is not None
        assert not value.grad.any()
        assert value.grad.isfinite().all()


def test_perfect_predictions_have_finite_gradients() -> None:
    """Zero differences, zero logarithms, zero vectors: no root or norm may give NaN there."""
    targets = unknown_targets()
    targets["depth"] += 2.0
    targets["normals"][:, 2] = -1.0
    targets["edges"] = torch.zeros(1, 1, 6, 6)
    targets["semantics"] += 1
    outputs = {name: targets[name].clone().requires_grad_() for name in ("depth", "normals", "edges")}
    outputs["semantics"] = torch.zeros(1, 4, 6, 6, requires_grad=True)
    for kind in ("l1", "log", "silog", "berhu"):
        terms = compute_losses(outputs, targets, LossConfig(depth_kind=kind))  # type: ignore[arg-type]
        torch.stack(list(terms.values())).sum().backward()
    for value in outputs.values():
        assert value.grad is not None
        assert value.grad.isfinite().all()


def test_weights_and_missing_tasks() -> None:
    outputs, targets = some_outputs(), unknown_targets()
    targets["depth"] += 1.0
    once = compute_losses(outputs, targets, LossConfig(semantics=0, edges=0, depth_normal=0, edge_semantic=0))
    assert list(once) == ["depth", "depth_gradient", "normals"]
    twice = compute_losses({"depth": outputs["depth"]}, targets, LossConfig(depth=2.0))
    assert list(twice) == ["depth", "depth_gradient"]
    torch.testing.assert_close(twice["depth"], 2 * once["depth"])


def test_terms_without_weight_are_not_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Tensor:
        raise AssertionError("a term of weight 0 was worked out")

    monkeypatch.setattr(losses, "edge_semantic_loss", refuse)
    assert "edge_semantic" not in compute_losses(some_outputs(), unknown_targets(), LossConfig(edge_semantic=0))
    with pytest.raises(AssertionError):
        compute_losses(some_outputs(), unknown_targets(), LossConfig())


@pytest.mark.parametrize("size", [(5, 7), (1, 4), (3, 1), (1, 1), (2, 2)])
def test_extremes_of_neighbours_are_those_of_pooling(size: tuple[int, int]) -> None:
    x = rand(2, 3, *size, low=-2)
    pooled = torch.nn.functional.max_pool2d(x, 3, stride=1, padding=1)
    assert torch.equal(losses._of_neighbours(x, torch.maximum), pooled)
    assert torch.equal(-losses._of_neighbours(-x, torch.minimum), pooled)


@pytest.mark.parametrize("change", [{"depth": -1}, {"edge_positive": 1.0}, {"silog_variance": 1.5}, {"unknown": 1}])
def test_impossible_configurations_are_rejected(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        LossConfig(**change)  # type: ignore[arg-type]


def test_planes_loss_is_least_at_the_planes_about_the_truth() -> None:
    """The true depth is that of the third plane: all the weight belongs there."""
    planes = log_planes()
    target = torch.full((1, 1, 4, 4), float(planes[0, 2].exp()))
    losses_by_plane = []
    for plane in range(5):
        logits = torch.zeros(1, 2, 5, 2, 2)
        logits[:, :, plane] = 8.0
        losses_by_plane.append(float(losses.planes_loss(logits, planes, target)))
    assert int(np.argmin(losses_by_plane)) == 2
    assert losses_by_plane[2] < 0.01
    silent = torch.zeros(1, 2, 5, 2, 2)  # matching that says nothing is not blamed
    silent[:, 0, 2] = 8.0
    assert float(losses.planes_loss(silent, planes, target)) < 0.01


def test_planes_of_each_pixel_are_not_blamed_for_depth_far_beyond_them() -> None:
    """Planes about a first answer that is right in one half of the image, and far off in the other."""
    planes = log_planes().repeat(1, 1, 2, 2)
    planes[..., 1] += 5.0
    target = torch.full((1, 1, 4, 4), float(log_planes()[0, 3].exp()))
    logits = torch.zeros(1, 1, 5, 2, 2)
    logits[:, :, 3, :, 0] = 9.0
    logits[:, :, 0, :, 1] = 9.0
    assert float(losses.planes_loss(logits, planes, target)) < 0.01
    logits[:, :, :, :, 0] = 0.0
    logits[:, :, 1, :, 0] = 9.0
    assert float(losses.planes_loss(logits, planes, target)) > 5
