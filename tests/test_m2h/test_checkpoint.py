"""Our own checkpoint files: exact round trips, and clear refusals."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from faults import largest_file
from network_helpers import random_images, relative_error, tiny_model
from safetensors.torch import save_file

from m2h.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_published_file,
    published_state_dict,
    read_record,
    read_state_dict,
    save_checkpoint,
)
from m2h.record import CheckpointRecord, Preprocessing


@pytest.fixture(scope="module")
def record() -> CheckpointRecord:
    return CheckpointRecord(
        config=tiny_model().config,
        preprocessing=Preprocessing(policy="fit", size=(64, 96), mean=(0.1, 0.2, 0.3)),
        normal_signs=(1, -1, -1),
        metrics={"rmse": 0.5},
        licence="CC0",
    )


def test_a_full_disk_is_said_with_the_file(tmp_path: Path, record: CheckpointRecord) -> None:
    with largest_file(1000), pytest.raises(OSError, match=r"a\.safetensors: cannot be written \(.*too large"):
        save_checkpoint(tmp_path / "a.safetensors", tiny_model(), record)
    assert list(tmp_path.iterdir()) == []


def test_round_trip_is_exact(tmp_path: Path, record: CheckpointRecord) -> None:
    model = tiny_model()
    save_checkpoint(tmp_path / "a.safetensors", model, record)
    loaded, read = load_checkpoint(tmp_path / "a.safetensors")
    assert read == record == read_record(tmp_path / "a.safetensors")
    assert not loaded.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=0, atol=0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_half_precision_files_are_half_as_large(tmp_path: Path, record: CheckpointRecord) -> None:
    model, images = tiny_model(), random_images(1, 32, 32)
    for half in (False, True):
        save_checkpoint(tmp_path / f"{half}.safetensors", model, record, half=half)
    assert (tmp_path / "True.safetensors").stat().st_size < 0.6 * (tmp_path / "False.safetensors").stat().st_size
    loaded, _ = load_checkpoint(tmp_path / "True.safetensors")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    with torch.inference_mode():
        assert relative_error(loaded(images)["semantics"], model(images)["semantics"]) < 0.05


def test_record_of_another_network_is_rejected(tmp_path: Path, record: CheckpointRecord) -> None:
    with pytest.raises(CheckpointError, match="config is not the model's"):
        save_checkpoint(tmp_path / "a.safetensors", tiny_model(classes=9), record)


def test_foreign_and_damaged_files_are_named(tmp_path: Path, record: CheckpointRecord) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"no tensors here")
    with pytest.raises(CheckpointError, match=r"a\.safetensors: not a readable safetensors file"):
        load_checkpoint(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of m2h"):
        load_checkpoint(path)
    save_file({"x": torch.zeros(1)}, path, metadata={"m2h_checkpoint": record.to_json()})
    with pytest.raises(CheckpointError, match=r"do not fit the recorded network: \d+ missing .*1 unexpected \(x\)"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format m2h-checkpoint"),
        ({"version": 9}, "version 9 is not supported"),
        ({"surprise": 1}, "surprise"),
        ({"config": {"channels": 0}}, "config"),
        ({"preprocessing": {"std": [0, 1, 1]}}, "preprocessing"),
        ({"preprocessing": {"policy": "native"}}, "preprocessing"),
        ({"normal_signs": [0, 1, 1]}, "normal_signs"),
        ({"depth_scale": 0}, "depth_scale"),
    ],
)
def test_bad_records_are_rejected(record: CheckpointRecord, change: dict[str, object], message: str) -> None:
    data = json.loads(record.to_json()) | change
    with pytest.raises(CheckpointError, match=message):
        CheckpointRecord.from_json(json.dumps(data), "here")


def test_records_are_not_read_from_broken_json() -> None:
    with pytest.raises(CheckpointError, match="here: record line 1: not readable as JSON"):
        CheckpointRecord.from_json("{", "here")


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}])
def test_published_files_load(tmp_path: Path, record: CheckpointRecord, wrap: object) -> None:
    model = tiny_model()
    torch.save(wrap(published_state_dict(model)), tmp_path / "m.pt")  # type: ignore[operator]
    loaded = load_published_file(tmp_path / "m.pt", record)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=0, atol=0)
    other = replace(record, config=replace(record.config, classes=9))
    with pytest.raises(CheckpointError, match=r"m\.pt: not a state dict of this network: .*wrong shape"):
        load_published_file(tmp_path / "m.pt", other)


class Harmful:
    """Unpickling an instance would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_loading_runs_no_code(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    torch.save({"x": Harmful(trace)}, tmp_path / "m.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Harmful(trace)))
    for name in ("m.pt", "raw.pt"):
        with pytest.raises(CheckpointError, match=rf"{name}: not a file of plain tensors"):
            read_state_dict(tmp_path / name)
    assert not trace.exists()


def test_files_without_tensors_are_rejected(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="expected a mapping of names to tensors"):
        read_state_dict(tmp_path / "m.pt")
    for name, text in (("empty.pt", ""), ("hello.pt", "hello")):
        (tmp_path / name).write_text(text)
        with pytest.raises(CheckpointError, match=name):
            read_state_dict(tmp_path / name)
