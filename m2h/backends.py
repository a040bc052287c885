"""Running exported networks: ONNX files through OpenVINO or ONNX Runtime, OpenVINO files through OpenVINO."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from m2h.record import RECORD_KEY, CheckpointError, CheckpointRecord
from m2h.tasks import TaskName

if TYPE_CHECKING:
    from torch import Tensor

    from m2h.model import Neighbours

TASKS_KEY = "m2h_tasks"
RUNTIMES = ("openvino", "onnxruntime")
"""Packages that run ONNX files, the faster first."""


class Network(Protocol):
    """A network as the predictor runs it, whatever runs it."""

    def __call__(
        self,
        images: Tensor,
        tasks: Collection[TaskName],
        neighbours: Neighbours | None = None,
        hint: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Normalised images [B, 3, H, W] to the outputs of `M2H.forward`."""
        ...

    def match(self, images: Tensor) -> Tensor:
        """Matching features of normalised images, as `M2H.match`."""
        ...


def require(package: str) -> Any:
    """The optional package; raises CheckpointError that says how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise CheckpointError(f"this needs the package {package}: pip install {package}") from error


def open_exported(
    path: Path, runtime: str | None = None, *, threads: int | None = None
) -> tuple[Network, CheckpointRecord]:
    """An exported network (.onnx or OpenVINO's .xml) as a function on torch tensors, and its record.

    `runtime` is openvino or onnxruntime; None takes the first that is installed. `threads` is how many it uses on a CPU; None
    leaves that to the runtime. Raises CheckpointError when the file is none of
    ours, when no runtime is installed, and, on use, for images of another size than it was exported for.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix == ".xml":
        return _open_openvino(path, threads)
    installed = [name for name in RUNTIMES if importlib.util.find_spec(name) is not None]
    chosen = runtime or (installed[0] if installed else None)
    if chosen is None:
        raise CheckpointError(f"{path}: running it needs one of the packages {', '.join(RUNTIMES)}")
    return _open_openvino(path, threads) if chosen == "openvino" else _open_onnxruntime(path, threads)


def _open_onnxruntime(path: Path, threads: int | None) -> tuple[Network, CheckpointRecord]:
    onnxruntime = require("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=onnxruntime.get_available_providers())
    except Exception as error:  # the runtime's errors share no public base class
        raise CheckpointError(f"{path}: not a network that onnxruntime reads: {error}") from error
    record, exported = _parse(session.get_modelmeta().custom_metadata_map, path)

    def run(image: Any) -> list[Any]:
        return list(session.run(None, {"images": image}))

    return ExportedNetwork(run, tuple(session.get_inputs()[0].shape), exported, path), record


def _open_openvino(path: Path, threads: int | None) -> tuple[Network, CheckpointRecord]:
    openvino = require("openvino")
    core = openvino.Core()
    try:
        model = core.read_model(str(path))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: not a network that openvino reads: {str(error).splitlines()[0]}") from error
    if path.suffix == ".xml":
        metadata = {key: model.get_rt_info([key]).value for key in (RECORD_KEY, TASKS_KEY) if model.has_rt_info([key])}
    else:
        metadata = read_onnx_metadata(path)
    record, exported = _parse(metadata, path)
    # float32 whatever the processor offers: bfloat16 changes the outputs by percents.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    compiled = core.compile_model(model, "CPU", settings)

    def run(image: Any) -> list[Any]:
        return list(compiled(image).values())

    return ExportedNetwork(run, tuple(compiled.input(0).shape), exported, path), record


class ExportedNetwork:
    """An exported network: one image of one size at a time through its runtime, as a function on batches of tensors."""

    def __init__(self, run: Any, shape: tuple[int, ...], exported: list[TaskName], path: Path) -> None:
        self.run, self.shape, self.exported, self.path = run, shape, exported, path

    def __call__(
        self,
        images: Tensor,
        tasks: Collection[TaskName],
        neighbours: Neighbours | None = None,
        hint: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As `Network`; raises CheckpointError for another size, tasks that were not exported, and for neighbours and hints."""
        import torch

        if neighbours is not None or hint is not None:
            raise CheckpointError(f"{self.path}: exported for single images, without neighbours and hints")
        if tuple(images.shape[1:]) != tuple(self.shape[1:]):
            raise CheckpointError(
                f"{self.path}: exported for images of {list(self.shape[1:])}, got {list(images.shape[1:])}"
            )
        missing = set(tasks) - set(self.exported)
        if missing:
            raise CheckpointError(f"{self.path}: exported without {', '.join(sorted(missing))}")
        rows = [self.run(image[None].contiguous().cpu().numpy()) for image in images]
        outputs = {task: torch.cat([torch.from_numpy(row[i]) for row in rows]) for i, task in enumerate(self.exported)}
        return {task: x for task, x in outputs.items() if task in tasks}

    def match(self, images: Tensor) -> Tensor:
        """Raises CheckpointError: the file holds no matching features."""
        raise CheckpointError(f"{self.path}: exported for single images, without matching features")


def _parse(metadata: dict[str, str], path: Path) -> tuple[CheckpointRecord, list[TaskName]]:
    if RECORD_KEY not in metadata or TASKS_KEY not in metadata:
        raise CheckpointError(f"{path}: holds no record of m2h; it was not exported by m2h")
    return CheckpointRecord.from_json(metadata[RECORD_KEY], str(path)), json.loads(metadata[TASKS_KEY])


def read_onnx_metadata(path: Path) -> dict[str, str]:
    """The metadata entries of an ONNX file, without a runtime. Raises CheckpointError for any other file."""
    onnx = require("onnx")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's errors share no base class with others
        raise CheckpointError(f"{path}: not an ONNX file: {error}") from error
    return {entry.key: entry.value for entry in model.metadata_props}
