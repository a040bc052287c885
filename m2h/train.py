"""Training: one loop that is deterministic under a seed, and continues after a stop as if there had been none."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from m2h.checkpoint import save_checkpoint
from m2h.data import Dataset, open_dataset
from m2h.data.loading import Batch, Order, TargetConfig, TrainingSet, make_loader
from m2h.evaluate import evaluate
from m2h.event_log import EventLog
from m2h.infer import InferenceConfig, Predictor, TorchNetwork, choose_device
from m2h.initial_weights import initial_model
from m2h.losses import TERMS, compute_losses
from m2h.metrics import Scores
from m2h.model import M2H, Neighbours
from m2h.record import CheckpointRecord
from m2h.tasks import TaskName
from m2h.train_config import TrainConfig, TrainError
from m2h.train_state import Sums, TrainState, learning_rate, load_state, merge_sums, new_state, save_state
from m2h.weighting import UncertaintyWeights, dynamic_weight_average, weighted_sum
from mapping.files import make_folder, remove_abandoned, write_text_atomic

STATE, BEST, LAST = "state.safetensors", "best.safetensors", "last.safetensors"
TRAINED_TASKS: dict[str, tuple[TaskName, ...] | None] = {"all": None, "matching": (), "fine": ("depth",)}
"""What the network is asked for, by what is trained of it."""
SHARES = ("delta_1", "miou", "normal_30", "edge_ods_f")
"""Scores between 0 and 1, one a task, whose mean says which epoch is the best."""


@dataclass(frozen=True)
class Progress:
    """Where a run is: steps done and in all, the last loss, seconds left at the speed so far."""

    step: int
    total: int
    loss: float
    seconds_left: float


@dataclass(frozen=True)
class TrainResult:
    """The files of a finished run (`best` by validation, None without), and the last validation scores."""

    last: Path
    best: Path | None
    scores: Scores


@dataclass(frozen=True)
class _Process:
    """This process among those that train together."""

    rank: int
    count: int
    device: torch.device


def train(
    config: TrainConfig,
    out: Path,
    *,
    base: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop_after: int | None = None,
) -> TrainResult:
    """Train a network into the folder `out`, or continue the run that is there.

    Writes `state.safetensors` (to resume from), `last.safetensors` and `best.safetensors` (checkpoints of the network, of its
    moving average if there is one), `config.json`, `log.jsonl` and a TensorBoard event file. Relative dataset paths are below
    `base`. Under torchrun all processes train together. `stop_after` ends after so many steps with the state saved.

    Raises TrainError when the folder has a different run, DatasetError and CheckpointError when data or weights cannot be read.
    """
    with _processes(config) as process:
        torch.manual_seed(config.seed)
        datasets = [open_dataset(address, base) for address in config.train]
        _check_classes(datasets, config)
        targets = TargetConfig(
            config.preprocessing, config.augment, config.focal, config.seed, config.views, config.target_stride
        )
        data = TrainingSet(datasets, targets)
        order = Order(
            len(data),
            config.batch_size,
            config.accumulation,
            process.count,
            config.seed,
            config.epoch_samples,
        )
        uncertainty = UncertaintyWeights(TERMS).to(process.device) if config.weighting == "uncertainty" else None
        state = new_state(config, initial_model(config).to(process.device), uncertainty)
        if (out / STATE).is_file():
            load_state(out / STATE, state, config, process.rank, process.count)
        run = _Run(config, out, process, data, order, state, datasets[0].label_space)
        validation = [open_dataset(address, base) for address in config.validation] if process.rank == 0 else []
        return run.run(validation, progress, stop_after)


class _Run:
    """The loop over epochs and steps of one process."""

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        process: _Process,
        data: TrainingSet,
        order: Order,
        state: TrainState,
        label_space: str,
    ) -> None:
        self.config, self.out, self.process = config, out, process
        self.data, self.order, self.state = data, order, state
        self.label_space = label_space
        self.total = order.steps * config.epochs
        self.forward: nn.Module = state.model
        if process.count > 1:
            ids = [process.device.index] if process.device.type == "cuda" else None
            self.forward = nn.parallel.DistributedDataParallel(state.model, device_ids=ids, find_unused_parameters=True)

    def run(
        self, validation: list[Dataset], progress: Callable[[Progress], None] | None, stop_after: int | None
    ) -> TrainResult:
        """Train to the end, or for `stop_after` steps."""
        start, begun, scores = self.state.step, time.monotonic(), Scores()
        end = self.total if stop_after is None else min(self.total, start + stop_after)
        loader = iter(make_loader(self.data, self._items(), self.config.workers))
        with self._log() as log:
            while self.state.step < end:
                epoch = self.state.step // self.order.steps
                for values in self._epoch(loader):
                    done = self.state.step - start
                    left = (time.monotonic() - begun) / done * (self.total - self.state.step)
                    if log and progress:
                        progress(Progress(self.state.step, self.total, values["loss"], left))
                    if log:
                        log.add(self.state.step, {f"train/{name}": value for name, value in values.items()})
                    # At the end of an epoch the state is saved once it is complete, means and measurements included.
                    due = self.state.step >= end or self.state.step % self.config.save_every == 0
                    if due and self.state.step % self.order.steps:
                        self._save_state()
                    if self.state.step >= end:
                        break
                if self.state.step % self.order.steps == 0:
                    scores = self._finish_epoch(epoch, validation, log) or scores
        best = self.out / BEST
        return TrainResult(self.out / LAST, best if best.is_file() else None, scores)

    def _items(self) -> Iterator[list[tuple[int, int]]]:
        """The items of all forward passes that this process has left."""
        epoch, first = divmod(self.state.step, self.order.steps)
        for number in range(epoch, self.config.epochs):
            yield from self.order.batches(number, self.process.rank, first if number == epoch else 0)

    def _epoch(self, loader: Iterator[Batch]) -> Iterator[dict[str, float]]:
        """The steps that the epoch has left; gives the values to log after each."""
        weights = self._term_weights()
        set_training_mode(self.state.model, self.config)
        for _ in range(self.state.step % self.order.steps, self.order.steps):
            yield self._step([next(loader) for _ in range(self.config.accumulation)], weights)

    def _term_weights(self) -> dict[str, float]:
        if self.config.weighting != "dwa":
            return {}
        return dynamic_weight_average(self.state.history, self.config.dwa_temperature)

    def _step(self, batches: list[Batch], weights: dict[str, float]) -> dict[str, float]:
        """One optimizer step from the mean gradient of the batches."""
        state, config = self.state, self.config
        rate = learning_rate(config.optimizer, state.step, self.total)
        for group in state.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        logged: dict[str, float] = {}
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            quiet = isinstance(self.forward, nn.parallel.DistributedDataParallel) and not last
            with self.forward.no_sync() if quiet else contextlib.nullcontext():  # type: ignore[operator]
                terms, loss = self._losses(batch, weights)
                torch.autograd.backward(state.scaler.scale(loss / len(batches)))
            self._count(terms)
            logged = {"loss": float(loss.detach()), "learning_rate": rate, **terms}
        self._share_gradients(state.uncertainty)
        state.scaler.unscale_(state.optimizer)
        if config.optimizer.clip_norm > 0:
            parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.update_average(config.ema)
        return logged

    def _share_gradients(self, module: nn.Module | None) -> None:
        """Average the gradients of a module that DistributedDataParallel does not look after."""
        if module is None or self.process.count == 1:
            return
        for parameter in module.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            parameter.grad /= self.process.count

    def _losses(self, batch: Batch, weights: dict[str, float]) -> tuple[dict[str, float], Tensor]:
        """The terms as numbers, and their weighted sum."""
        batch = {name: value.to(self.process.device, non_blocking=True) for name, value in batch.items()}
        dtype = getattr(torch, self.config.precision)
        with torch.autocast(self.process.device.type, dtype, enabled=dtype != torch.float32):
            outputs = self._outputs(batch)
        outputs = {name: value.float() for name, value in outputs.items()}
        terms = compute_losses(outputs, batch, self.config.losses)
        total = self.state.uncertainty(terms) if self.state.uncertainty else weighted_sum(terms, weights)
        if not bool(torch.isfinite(total)) and not self.state.scaler.is_enabled():
            raise TrainError(
                f"step {self.state.step}: the loss is not finite: {_numbers(terms)}; lower the learning rate"
            )
        return _numbers(terms), total

    def _outputs(self, batch: Batch) -> dict[str, Tensor]:
        """The network's outputs at the size of the targets."""
        stride = self.config.target_stride
        if self.config.views is None:
            return self.forward(batch["image"], stride=stride)
        views, tasks = batch["neighbours"], TRAINED_TASKS[self.config.trained]
        if not self.config.views.through_neighbours:
            features = self.state.model.match(views.flatten(0, 1), through_backbone=False)
            views = torch.unflatten(features, 0, views.shape[:2])
        neighbours = Neighbours(views, batch["projections"], batch["valid"])
        return self.forward(batch["image"], neighbours, batch["hint"], tasks, stride=stride)

    def _count(self, terms: dict[str, float]) -> None:
        for name, value in terms.items():
            total, number = self.state.sums.get(name, (0.0, 0))
            self.state.sums[name] = (total + value, number + 1)

    def _finish_epoch(self, epoch: int, validation: list[Dataset], log: EventLog | None) -> Scores:
        """Note the epoch's means, measure when it is time, save."""
        state = self.state
        state.history.append(self._means())
        state.sums = {}
        scores: Scores = {}
        final = epoch + 1 == self.config.epochs
        if self.process.rank == 0:
            if validation and (final or (epoch + 1) % self.config.validate_every == 0):
                scores = self._validate(validation)
                if log:
                    log.add(state.step, {f"validation/{name}": value for name, value in scores.items()})
            self._save_network(self.out / LAST, scores)
            value = _quality(scores)
            if value is not None and value > state.best:
                state.best = value
                self._save_network(self.out / BEST, scores)
        self._save_state()
        if self.process.count > 1:
            dist.barrier()
        return scores

    def _means(self) -> dict[str, float]:
        """Epoch means of the terms over all processes, which therefore weigh them alike."""
        return {name: total / number for name, (total, number) in merge_sums(self._all_sums()).items()}

    def _all_sums(self) -> list[Sums]:
        """The sums of every process, in every process."""
        if self.process.count == 1:
            return [self.state.sums]
        rows = [self.state.sums.get(name, (0.0, 0)) for name in TERMS]
        own = torch.tensor(rows, dtype=torch.float64, device=self.process.device)
        parts = [torch.zeros_like(own) for _ in range(self.process.count)]
        dist.all_gather(parts, own)
        return [
            {name: (total, int(number)) for name, (total, number) in zip(TERMS, part.tolist(), strict=True) if number}
            for part in parts
        ]

    def _validate(self, validation: list[Dataset]) -> Scores:
        record = self._record({})
        device = self.process.device
        options = InferenceConfig(device=str(device), keep_memory=False)
        network = self.state.measured
        was_training = network.training
        predictor = Predictor(TorchNetwork(network.eval(), device, options), record, options)
        tasks, limit = self.config.validation_tasks, self.config.validation_limit
        scores = [evaluate(predictor, one, tasks=tasks, limit=limit) for one in validation]
        network.train(was_training)
        known = {name: [s[name] for s in scores if s.get(name) is not None] for score in scores for name in score}
        return {name: sum(values) / len(values) if values else None for name, values in known.items()}  # type: ignore[arg-type]

    def _record(self, scores: Scores) -> CheckpointRecord:
        config = self.config
        return CheckpointRecord(
            config=config.model,
            preprocessing=config.preprocessing,
            label_space=self.label_space,
            focal=config.focal,
            metrics={name: value for name, value in scores.items() if value is not None},
            trained_on=", ".join(config.train),
            licence=config.licence,
            source=config.backbone_origin,
            notes=f"{self.state.step} steps, seed {config.seed}",
        )

    def _save_network(self, path: Path, scores: Scores) -> None:
        save_checkpoint(path, self.state.measured, self._record(scores))

    def _save_state(self) -> None:
        sums = self._all_sums()
        if self.process.rank == 0:
            save_state(self.out / STATE, self.state, self.config, sums)

    def _log(self) -> contextlib.AbstractContextManager[EventLog | None]:
        if self.process.rank:
            return contextlib.nullcontext()
        make_folder(self.out)
        remove_abandoned(self.out)
        write_text_atomic(self.out / "config.json", self.config.to_json() + "\n")
        return EventLog(self.out)


@contextlib.contextmanager
def _processes(config: TrainConfig) -> Iterator[_Process]:
    """Joins the processes that torchrun started (its environment says which), or stands alone."""
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = choose_device(config.device)
    if count == 1:
        yield _Process(0, 1, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield _Process(rank, count, device)
    finally:
        dist.destroy_process_group()


def set_training_mode(model: M2H, config: TrainConfig) -> None:
    """Training mode, for all or for the part that is trained: what is not keeps the statistics that it has."""
    model.train(config.trained != "fine")
    if config.trained == "fine":
        model.heads["depth"].training = True  # of the head itself, not of what is in it
    elif config.freeze_norms:
        freeze_norms(model.backbone)


def freeze_norms(module: nn.Module) -> None:
    """Batch norms use and keep their running statistics; their scales and shifts continue to learn."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


def _check_classes(datasets: list[Dataset], config: TrainConfig) -> None:
    spaces = {dataset.label_space for dataset in datasets}
    if len(spaces) > 1:
        raise TrainError(f"train: datasets with different label spaces: {', '.join(sorted(spaces))}")
    most = max(dataset.classes for dataset in datasets)
    if "semantics" in config.model.tasks and most != config.model.classes:
        raise TrainError(f"model.classes: {config.model.classes}, but the data's label space needs {most}")


def _quality(scores: Scores) -> float | None:
    known = [value for name in SHARES if (value := scores.get(name)) is not None]
    return sum(known) / len(known) if known else None


def _numbers(terms: dict[str, Tensor]) -> dict[str, Any]:
    return {name: float(value.detach()) for name, value in terms.items()}
