"""Training: exact resuming, determinism, processes that agree, schedules, refusals; and that it learns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from training_helpers import tiny_training, train_in_processes, write_world

from m2h.checkpoint import load_checkpoint, save_checkpoint
from m2h.data.loading import Order
from m2h.evaluate import evaluate_checkpoint
from m2h.initial_weights import load_backbone
from m2h.model import build_model
from m2h.record import CheckpointRecord
from m2h.train import Progress, TrainError, train
from m2h.train_config import OptimizerConfig, TrainConfig, train_config_from_mapping
from m2h.train_state import STATE_KEY, Sums, learning_rate, make_optimizer, merge_sums, share_of


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("training")
    write_world(path / "world", 8)
    write_world(path / "unseen", 3, seed=1)
    return path


NOT_LEARNT = ("running", "num_batches")
"""Parts of the names of a batch norm's statistics, which each process takes of its own batches."""


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "state.safetensors")


def counters(path: Path) -> dict[str, Any]:
    with safe_open(path / "state.safetensors", framework="pt") as file:
        return json.loads(file.metadata()[STATE_KEY])


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize(("weighting", "epochs"), [pytest.param("dwa", 3, marks=pytest.mark.full), ("uncertainty", 2)])
def test_resuming_gives_the_same_bytes(base: Path, tmp_path: Path, weighting: str, epochs: int) -> None:
    config = tiny_training(weighting=weighting, ema=0.9, epochs=epochs)
    straight = train(config, tmp_path / "straight", base=base)
    for steps in (3, 1, 5, 99):  # stops in the middle and at the end of epochs of four steps
        resumed = train(config, tmp_path / "resumed", base=base, stop_after=steps)
    assert_same(tensors(tmp_path / "straight"), tensors(tmp_path / "resumed"))
    assert_same(load_file(straight.last), load_file(resumed.last))


def test_the_seed_decides_everything(base: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tiny_training(seed=seed, epochs=1), tmp_path / name, base=base)
    assert_same(tensors(tmp_path / "a"), tensors(tmp_path / "b"))
    one, other = tensors(tmp_path / "a"), tensors(tmp_path / "c")
    assert not torch.equal(one["model/heads.edges.out.weight"], other["model/heads.edges.out.weight"])


def test_a_run_leaves_its_files(base: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    config = tiny_training(validation=("folder:unseen",), validation_limit=2, licence="CC0", focal=55.0)
    result = train(config, tmp_path, base=base, progress=told.append)
    assert result.best is not None
    model, record = load_checkpoint(result.best)
    assert model.config == config.model
    assert (record.focal, record.licence, record.label_space) == (55.0, "CC0", "nyu40")
    assert {"rmse", "miou", "normal_mean_deg"} <= record.metrics.keys()
    assert result.scores["rmse"] is not None
    assert [p.step for p in told] == list(range(1, 9))
    assert told[-1].seconds_left == 0
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 8 + 2
    assert {"train/loss", "train/depth", "train/learning_rate"} <= lines[0].keys()
    assert "validation/miou" in lines[4]
    assert list(tmp_path.glob("events.out.tfevents.*"))
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0


@pytest.mark.slow
def test_loss_falls(base: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    config = tiny_training(epochs=8, augment=None, weighting="fixed")
    train(config, tmp_path, base=base, progress=told.append)
    first, last = (sum(p.loss for p in part) / 4 for part in (told[:4], told[-4:]))
    assert last < 0.5 * first


@pytest.mark.full
def test_a_small_network_learns_eight_images_by_heart(base: Path, tmp_path: Path) -> None:
    """All four tasks together; edges within one pixel, which is the tolerance at this size."""
    config = tiny_training(epochs=120, augment=None, weighting="fixed", batch_size=4, ema=0.95)
    model = replace(config.model, attention_heads=1, detail_channels=16)
    optimizer = OptimizerConfig(
        learning_rate=4e-3, backbone_factor=0.5, schedule="cosine", warmup_steps=20, weight_decay=0
    )
    result = train(replace(config, model=model, optimizer=optimizer), tmp_path, base=base)
    scores = evaluate_checkpoint(result.last, f"folder:{base / 'world'}")
    known = {name: value for name, value in scores.items() if value is not None}
    assert known["abs_rel"] < 0.08
    assert known["miou"] > 0.9
    assert known["normal_mean_deg"] < 5
    assert known["edge_ods_f"] > 0.6


def test_frozen_backbones_stay(base: Path, tmp_path: Path) -> None:
    config = tiny_training(optimizer=OptimizerConfig(backbone_factor=0.0), epochs=1)
    torch.manual_seed(config.seed)
    before = build_model(config.model).state_dict()
    train(config, tmp_path, base=base)
    after = tensors(tmp_path)
    for name, value in before.items():
        if name.startswith("backbone."):
            assert torch.equal(after[f"model/{name}"], value)
    assert not torch.equal(after["model/heads.edges.out.weight"], before["heads.edges.out.weight"])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains(base: Path, tmp_path: Path, precision: str) -> None:
    result = train(tiny_training(epochs=1, precision=precision), tmp_path, base=base)
    assert all(p.isfinite().all() for p in load_checkpoint(result.last)[0].parameters())


def test_another_configuration_is_refused(base: Path, tmp_path: Path) -> None:
    train(tiny_training(epochs=1), tmp_path, base=base)
    other = tiny_training(epochs=1, optimizer=OptimizerConfig(learning_rate=1e-4))
    with pytest.raises(
        TrainError, match=r"run with a different optimizer\.backbone_factor; choose a different output folder"
    ):
        train(other, tmp_path, base=base)
    (tmp_path / "state.safetensors").write_bytes(b"broken")
    with pytest.raises(TrainError, match=r"state\.safetensors: not a saved training state"):
        train(tiny_training(epochs=1), tmp_path, base=base)


def test_classes_must_fit_the_data(base: Path, tmp_path: Path) -> None:
    config = tiny_training()
    with pytest.raises(TrainError, match=r"model\.classes: 13, but the data's label space needs 41"):
        train(replace(config, model=replace(config.model, classes=13)), tmp_path, base=base)


def test_starting_from_weights(base: Path, tmp_path: Path) -> None:
    config = tiny_training(epochs=1)
    model = build_model(config.model)
    save_checkpoint(tmp_path / "start.safetensors", model, CheckpointRecord(config=config.model))
    slow = OptimizerConfig(learning_rate=1e-12, backbone_factor=1.0, weight_decay=0)
    train(replace(config, init=str(tmp_path / "start.safetensors"), optimizer=slow), tmp_path / "out", base=base)
    state = tensors(tmp_path / "out")
    torch.testing.assert_close(state["model/heads.edges.out.weight"], model.state_dict()["heads.edges.out.weight"])
    other = replace(config, model=replace(config.model, channels=32), init=str(tmp_path / "start.safetensors"))
    with pytest.raises(TrainError, match="contains a different network"):
        train(other, tmp_path / "other", base=base)

    backbone = {name: (value + 1).contiguous() for name, value in model.backbone.vit.state_dict().items()}
    for path in (tmp_path / "b.safetensors", tmp_path / "b.pth"):
        save_file(backbone, path) if path.suffix == ".safetensors" else torch.save(backbone, path)
        fresh = build_model(config.model)
        load_backbone(fresh, path)
        torch.testing.assert_close(fresh.backbone.vit.cls_token, backbone["cls_token"])
    del backbone["cls_token"]
    save_file(backbone, tmp_path / "b.safetensors")
    with pytest.raises(TrainError, match=r"b\.safetensors: missing or of a different shape .*: cls_token"):
        load_backbone(build_model(config.model), tmp_path / "b.safetensors")


SCRIPT = """
import sys; sys.path[:0] = [{tests!r}]
import torch; torch.set_num_threads(1)
from pathlib import Path
from training_helpers import tiny_training
from m2h.train import train
if __name__ == "__main__":
    config = tiny_training(epochs={epochs}, weighting={weighting!r}, ema=0.9)
    train(config, Path({out!r}), base=Path({base!r}))
"""


def train_in_two(base: Path, out: Path, epochs: int, weighting: str) -> None:
    """Trains with two gloo processes under torchrun into the folder `out`."""
    script = out.with_suffix(".py")
    paths = {"tests": str(Path(__file__).parents[1]), "base": str(base), "out": str(out)}
    script.write_text(SCRIPT.format(epochs=epochs, weighting=weighting, **paths))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("weighting", [pytest.param("dwa", marks=pytest.mark.full), "uncertainty"])
def test_two_processes_equal_accumulation(base: Path, tmp_path: Path, weighting: str) -> None:
    """Two gloo processes see the same images in a step as one that sums two passes, so they learn the same weights."""
    train(tiny_training(epochs=2, accumulation=2, weighting=weighting), tmp_path / "one", base=base)
    train_in_two(base, tmp_path / "two", 2, weighting)
    one, two = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    weights = [name for name in one if name.startswith("model/") and not any(kind in name for kind in NOT_LEARNT)]
    close = torch.cat([torch.isclose(two[name], one[name], rtol=1e-3, atol=1e-4).flatten() for name in weights])
    # Where a gradient is zero but for rounding, Adam's steps follow the rounding: a few weights may differ.
    assert float(close.float().mean()) > 0.998


@pytest.mark.slow
def test_two_processes_resume_in_the_middle_of_an_epoch(base: Path, tmp_path: Path) -> None:
    """Epochs have two steps here. Each process continues with its own sums, from which the third epoch's weights come."""
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    config = tiny_training(epochs=4, weighting="dwa", ema=0.9)
    train_in_processes(config, straight, base)
    for steps in (3, None):
        train_in_processes(config, resumed, base, steps)
    assert_same(tensors(straight), tensors(resumed))
    assert counters(straight)["history"] == counters(resumed)["history"]
    assert len(counters(straight)["history"]) == 4


def test_saved_sums_are_shared_out_again() -> None:
    one: Sums = {"depth": (1.5, 2)}
    two: Sums = {"depth": (2.0, 1), "edges": (4.0, 1)}
    assert [share_of([one, two], rank, 2) for rank in range(2)] == [one, two]
    total = {"depth": (3.5, 3), "edges": (4.0, 1)}
    assert share_of([one, two], 0, 1) == merge_sums([one, two]) == total
    assert [share_of([one, two], rank, 3) for rank in range(3)] == [total, {}, {}]


@pytest.mark.slow
def test_reading_processes_change_nothing(base: Path, tmp_path: Path) -> None:
    train(tiny_training(epochs=1), tmp_path / "none", base=base)
    train(tiny_training(epochs=1, workers=1), tmp_path / "one", base=base)
    one, none = tensors(tmp_path / "one"), tensors(tmp_path / "none")
    assert_same(one, none)


def test_order_is_the_same_for_any_split_of_a_step() -> None:
    one = Order(length=21, batch_size=2, accumulation=4, processes=1, seed=3)
    two = Order(length=21, batch_size=2, accumulation=2, processes=2, seed=3)
    assert one.steps == two.steps == 2
    whole = list(one.batches(5, 0))
    halves = [list(two.batches(5, rank)) for rank in range(2)]
    merged = [halves[i % 2][i // 2] for i in range(8)]
    assert merged == whole
    assert list(two.batches(5, 1, first_step=1)) == halves[1][2:]
    assert len({index for batch in whole for _, index in batch}) == 16
    assert whole != list(one.batches(6, 0))
    small = Order(length=3, batch_size=4, accumulation=1, processes=1, seed=0)
    assert sorted({index for _, index in next(small.batches(0, 0))}) == [0, 1, 2]


def test_learning_rates_by_hand() -> None:
    def rates(name: str, warmup: int = 0) -> list[float]:
        config = OptimizerConfig(learning_rate=1.0, schedule=name, warmup_steps=warmup)  # type: ignore[arg-type]
        return [learning_rate(config, step, 100) for step in (0, 50, 99)]

    assert rates("poly") == pytest.approx([1, 0.5**0.9, 0.01**0.9])
    assert rates("cosine") == pytest.approx([1, 0.5, 0.000247], abs=1e-5)
    assert rates("step") == [1, 0.125, 0.03125]
    assert rates("constant", warmup=100) == pytest.approx([0.01, 0.51, 1])


def test_only_matrices_decay_and_the_backbone_is_slower() -> None:
    model = build_model(tiny_training().model)
    groups = make_optimizer(model, None, OptimizerConfig(learning_rate=1.0, backbone_factor=0.1)).param_groups
    assert sorted((g["lr"], g["weight_decay"]) for g in groups) == [(0.1, 0), (0.1, 0.01), (1, 0), (1, 0.01)]
    for group in groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])


def test_configurations_are_read_strictly() -> None:
    def parsed(text: str) -> TrainConfig:
        return train_config_from_mapping(yaml.safe_load(text), Path("run.yaml"))

    config = parsed("train: ['folder:a']\nmodel: tiny\noptimizer: {learning_rate: 1e-4}\naugment: null\n")
    assert config.optimizer.learning_rate == 1e-4  # YAML reads 1e-4 as text
    assert config.augment is None
    assert config.model.channels == 32
    for text, message in [
        ("train: []", "at least one dataset"),
        ("train: ['folder:a']\nepoch: 3", r"run\.yaml: epoch: "),
        ("train: ['folder:a']\nmodel: huge", "no published network 'huge'.*tiny or cross"),
        ("train: ['folder:a']\npreprocessing: {policy: native, size: null}", "size must be given"),
        ("train: ['folder:a']\noptimizer: {learning_rate: -1}", "learning_rate must be positive"),
    ]:
        with pytest.raises(TrainError, match=message):
            parsed(text)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"ema": 1.0}, {"seed": -1}, {"batch_size": 0}])
def test_impossible_runs_are_rejected(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        TrainConfig(train=("folder:a",), **change)  # type: ignore[arg-type]
