"""Running exported networks: ONNX files through OpenVINO or ONNX Runtime, OpenVINO files through OpenVINO."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from m2h.record import RECORD_KEY, CheckpointError, CheckpointRecord
from m2h.tasks import TaskName
from mapping.reading.documents import parse_json
from mapping.reading.files import check_regular

if TYPE_CHECKING:
    from torch import Tensor

    from m2h.model import Neighbours

OUTPUTS_KEY = "m2h_tasks"
"""Key in a file's metadata of the names of its outputs, in order."""
IMAGES = "images"
VIEW_INPUTS = ("views", "projections", "valid", "hint")
"""Inputs besides the image of a network with `cross_view`: the fields of `Neighbours` and the hint."""
FEATURES = "features"
"""Its output of matching features."""
RUNTIMES = ("openvino", "onnxruntime")
"""Packages that run ONNX files, the faster first."""


class Network(Protocol):
    """A network as the predictor runs it, whatever runs it; `has_fixed_size` where it takes images of one size alone."""

    has_fixed_size: bool

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
    check_regular(path, CheckpointError)
    if path.suffix == ".xml":
        return _open_openvino(path, threads)
    installed = [name for name in RUNTIMES if importlib.util.find_spec(name) is not None]
    chosen = runtime or (installed[0] if installed else None)
    if chosen is None:
        raise CheckpointError(f"{path}: running it needs one of the packages {', '.join(RUNTIMES)}")
    return _open_openvino(path, threads) if chosen == "openvino" else _open_onnxruntime(path, threads)


class _Graph(NamedTuple):
    """A graph in its runtime: from arrays by the names of the inputs to the outputs in order; shapes of its inputs by name."""

    run: Callable[[dict[str, Any]], list[Any]]
    shapes: dict[str, tuple[int, ...]]


def _open_onnxruntime(path: Path, threads: int | None) -> tuple[Network, CheckpointRecord]:
    onnxruntime = require("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0

    def start(source: str | bytes) -> Any:
        return onnxruntime.InferenceSession(source, options, providers=onnxruntime.get_available_providers())

    def graph(session: Any) -> _Graph:
        shapes = {node.name: tuple(node.shape) for node in session.get_inputs()}
        return _Graph(lambda inputs: list(session.run(None, inputs)), shapes)

    try:
        session = start(str(path))
    except Exception as error:  # the runtime's errors share no public base class
        raise CheckpointError(f"{path}: not a network that onnxruntime reads: {error}") from error
    record, outputs = _parse(session.get_modelmeta().custom_metadata_map, path)
    try:
        features = graph(start(_part_of_onnx(path, FEATURES))) if FEATURES in outputs else None
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path}: its matching features cannot be had by themselves: {error}") from error
    return ExportedNetwork(graph(session), features, outputs, record, path), record


def _open_openvino(path: Path, threads: int | None) -> tuple[Network, CheckpointRecord]:
    openvino = require("openvino")
    core = openvino.Core()
    try:
        model = core.read_model(str(path))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: not a network that openvino reads: {str(error).splitlines()[0]}") from error
    if path.suffix == ".xml":
        keys = (RECORD_KEY, OUTPUTS_KEY)
        metadata = {key: model.get_rt_info([key]).value for key in keys if model.has_rt_info([key])}
    else:
        metadata = read_onnx_metadata(path)
    record, outputs = _parse(metadata, path)
    # float32 whatever the processor offers: bfloat16 changes the outputs by percents.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = str(threads)

    def graph(model: Any) -> _Graph:
        compiled = core.compile_model(model, "CPU", settings)
        shapes = {node.get_any_name(): tuple(node.shape) for node in compiled.inputs}
        return _Graph(lambda inputs: list(compiled(inputs).values()), shapes)

    features = None
    if FEATURES in outputs:
        features = graph(openvino.Model([model.output(FEATURES)], [model.input(IMAGES).get_node()]))
    return ExportedNetwork(graph(model), features, outputs, record, path), record


class ExportedNetwork:
    """An exported network: one image of one size at a time through its runtime, as a function on batches of tensors.

    `whole` gives all outputs; `features`, with `cross_view`, the part of it that gives the matching features.
    """

    has_fixed_size = True

    def __init__(
        self, whole: _Graph, features: _Graph | None, outputs: list[str], record: CheckpointRecord, path: Path
    ) -> None:
        """Raises CheckpointError for a network with `cross_view` in a file that does not take neighbours."""
        self.whole, self.features = whole, features
        self.outputs, self.path = outputs, path
        if record.config.cross_view is not None and (features is None or set(VIEW_INPUTS) - set(whole.shapes)):
            raise CheckpointError(
                f"{path}: exported without neighbours and hints, by an earlier version: export it again"
            )

    def __call__(
        self,
        images: Tensor,
        tasks: Collection[TaskName],
        neighbours: Neighbours | None = None,
        hint: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As `Network`; raises CheckpointError for another size, tasks that were not exported, more neighbours than were exported
        for, and for neighbours and hints where the network sees one image at a time."""
        import torch

        self._check_size(images)
        missing = set(tasks) - set(self.outputs)
        if missing:
            raise CheckpointError(f"{self.path}: exported without {', '.join(sorted(missing))}")
        if self.features is None:
            if neighbours is not None or hint is not None:
                raise CheckpointError(f"{self.path}: this network sees one image at a time")
            inputs = {IMAGES: images}
        else:
            inputs = {IMAGES: images} | self._view_inputs(len(images), neighbours, hint)
        arrays = {name: x.contiguous().cpu().numpy() for name, x in inputs.items()}
        rows = [self.whole.run({name: x[i : i + 1] for name, x in arrays.items()}) for i in range(len(images))]
        outputs = {name: torch.cat([torch.from_numpy(row[i]) for row in rows]) for i, name in enumerate(self.outputs)}
        # The error of depth comes with depth, as from torch.
        return {name: x for name, x in outputs.items() if (name if name != "depth_error" else "depth") in tasks}

    def match(self, images: Tensor) -> Tensor:
        """As `Network`; raises CheckpointError for another size, and where the network sees one image at a time."""
        import torch

        if self.features is None:
            raise CheckpointError(f"{self.path}: this network sees one image at a time")
        self._check_size(images)
        arrays = images.contiguous().cpu().numpy()
        rows = [self.features.run({IMAGES: arrays[i : i + 1]})[0] for i in range(len(images))]
        return torch.cat([torch.from_numpy(row) for row in rows])

    def _check_size(self, images: Tensor) -> None:
        exported = list(self.whole.shapes[IMAGES][1:])
        if list(images.shape[1:]) != exported:
            raise CheckpointError(f"{self.path}: exported for images of {exported}, got {list(images.shape[1:])}")

    def _view_inputs(self, batch: int, neighbours: Neighbours | None, hint: Tensor | None) -> dict[str, Tensor]:
        """The inputs besides the images: neighbours filled up to the exported number with such as are not valid, and the hint."""
        import torch

        shapes = {name: (batch, *self.whole.shapes[name][1:]) for name in VIEW_INPUTS}
        inputs = {name: torch.zeros(shape) for name, shape in shapes.items()}
        inputs["valid"] = inputs["valid"].bool()
        if hint is not None:
            inputs["hint"] = hint.float()
        if neighbours is None:
            return inputs
        count, most = neighbours.views.shape[1], shapes["views"][1]
        if count > most:
            raise CheckpointError(f"{self.path}: exported for up to {most} neighbours, got {count}")
        if neighbours.views.shape[2] == 3:  # images
            features = self.match(neighbours.views.flatten(0, 1))
            neighbours = neighbours._replace(views=torch.unflatten(features, 0, (batch, count)))
        for name, value in neighbours._asdict().items():
            inputs[name][:, :count] = value
        return inputs


def _parse(metadata: dict[str, str], path: Path) -> tuple[CheckpointRecord, list[str]]:
    """The record and the names of the outputs."""
    if RECORD_KEY not in metadata or OUTPUTS_KEY not in metadata:
        raise CheckpointError(f"{path}: has no record of m2h; it was not exported by m2h")
    return CheckpointRecord.from_json(metadata[RECORD_KEY], str(path)), _names_of(
        parse_json(metadata[OUTPUTS_KEY], f"{path}: {OUTPUTS_KEY}", CheckpointError), path
    )


def _names_of(entry: object, path: Path) -> list[str]:
    if not isinstance(entry, list) or not all(isinstance(name, str) for name in entry):
        raise CheckpointError(f"{path}: {OUTPUTS_KEY} must be a list of names")
    return entry


def _part_of_onnx(path: Path, output: str) -> bytes:
    """The ONNX file cut down to what one of its outputs needs."""
    onnx = require("onnx")
    model = onnx.load(str(path))
    graph, needed = model.graph, {output}
    nodes = []
    for node in reversed(graph.node):  # a graph lists each node behind those that it needs
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(name for name in node.input if name)  # an omitted input has no name
    kept = {"node": nodes[::-1]}
    for field in ("input", "output", "initializer", "value_info"):
        kept[field] = [item for item in getattr(graph, field) if item.name in needed]
    part = onnx.GraphProto(name=graph.name, **kept)
    return bytes(
        onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, graph=part).SerializeToString()
    )


def read_onnx_metadata(path: Path) -> dict[str, str]:
    """The metadata entries of an ONNX file, without a runtime. Raises CheckpointError for any other file."""
    onnx = require("onnx")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's errors share no base class with others
        raise CheckpointError(f"{path}: not an ONNX file: {error}") from error
    return {entry.key: entry.value for entry in model.metadata_props}
