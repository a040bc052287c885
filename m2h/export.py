"""Export of a network to ONNX and OpenVINO, with its record inside the file.

Shapes are fixed: runtimes plan their memory and kernels for them, and a checkpoint's preprocessing names one size anyway.
A network with `cross_view` becomes one graph that takes image, neighbours and hint; `m2h.backends` cuts the part that gives the
matching features alone out of it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from m2h.backends import FEATURES, IMAGES, OUTPUTS_KEY, VIEW_INPUTS, read_onnx_metadata, require
from m2h.model import M2H, Neighbours, prepare_for_inference
from m2h.model.cross_view import MATCHING_STRIDE
from m2h.model.network import centre_padding
from m2h.record import RECORD_KEY, CheckpointError, CheckpointRecord
from m2h.tasks import TASKS, TaskName
from mapping.files import write_bytes_atomic

OPSET = 18


NEIGHBOURS = 8
"""Neighbours that an exported network takes at most, unless asked for others: those that `m2h run` gives it."""


class _Outputs(nn.Module):
    """The wanted outputs as a tuple, which is what the exporter takes; with `cross_view` the matching features come last."""

    def __init__(self, model: M2H, tasks: tuple[TaskName, ...]) -> None:
        super().__init__()
        self.model, self.tasks = model, tasks

    def forward(self, images: Tensor, *view_inputs: Tensor) -> tuple[Tensor, ...]:
        if not view_inputs:
            return tuple(self.model(images, tasks=self.tasks).values())
        *neighbours, hint = view_inputs
        outputs = self.model(images, Neighbours(*neighbours), hint, tasks=self.tasks)
        # The exporter finds that these are the features that the cost volume is made of: they are computed once.
        return (*outputs.values(), self.model.match(images))


def export_onnx(
    model: M2H,
    record: CheckpointRecord,
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    tasks: Collection[TaskName] | None = None,
    neighbours: int = NEIGHBOURS,
) -> None:
    """Write the network for one image of `size` (H, W), by default its preprocessing's, as one ONNX file, atomically.

    With `cross_view` in its configuration the file takes up to `neighbours` neighbours and a hint, and has the matching features
    too; without, `neighbours` means nothing. Needs the package onnxscript. Raises CheckpointError when neither size nor
    preprocessing says a size, when `size` is not the one that the preprocessing makes, and for less than one neighbour.
    """
    require("onnxscript")
    if neighbours < 1:
        raise CheckpointError(f"export: expected at least one neighbour, got {neighbours}")
    wanted = tuple(task for task in TASKS if task in (model.config.tasks if tasks is None else tasks))
    model = prepare_for_inference(model).to(memory_format=torch.contiguous_format)
    inputs = _zeros(model, _fixed_size(record, size), neighbours)
    with torch.no_grad():
        names = list(model(inputs[IMAGES], tasks=wanted))
    if model.matching is not None:
        names.append(FEATURES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter deprecates parts of itself as it goes
        program = torch.onnx.export(
            _Outputs(model, wanted).eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=names,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for key, value in {RECORD_KEY: record.to_json(), OUTPUTS_KEY: json.dumps(names)}.items():
        proto.metadata_props.add(key=key, value=value)
    write_bytes_atomic(path, proto.SerializeToString())


def export_openvino(onnx_path: Path, path: Path) -> None:
    """Convert an exported ONNX file to OpenVINO's format: `path` (.xml) and, next to it, the weights (.bin), in float32."""
    openvino = require("openvino")
    model = openvino.Core().read_model(str(onnx_path))
    for key, value in read_onnx_metadata(onnx_path).items():
        model.set_rt_info(value, [key])
    openvino.save_model(model, str(path), compress_to_fp16=False)


def _zeros(model: M2H, size: tuple[int, int], neighbours: int) -> dict[str, Tensor]:
    """Inputs of the shapes that are exported, by name: those of the image of `size` (H, W), and with `cross_view` the others."""
    images = torch.zeros(1, 3, *size)
    if model.config.cross_view is None:
        return {IMAGES: images}
    left, right, top, bottom = centre_padding(size, model.backbone.patch)
    height, width = (size[0] + top + bottom) // MATCHING_STRIDE, (size[1] + left + right) // MATCHING_STRIDE
    views = torch.zeros(1, neighbours, model.config.cross_view.kept_channels, height, width)
    others = (views, torch.zeros(1, neighbours, 3, 4), torch.zeros(1, neighbours, dtype=torch.bool))
    return {IMAGES: images, **dict(zip(VIEW_INPUTS, (*others, torch.zeros(1, 2, *size)), strict=True))}


def _fixed_size(record: CheckpointRecord, size: tuple[int, int] | None) -> tuple[int, int]:
    own = record.preprocessing.size
    if own is None and size is None:
        raise CheckpointError(
            "export: the preprocessing keeps the images' size, so give the height and width to export for"
        )
    if own is not None and size not in (None, own):
        raise CheckpointError(f"export: the preprocessing makes inputs of {own[0]}x{own[1]}, not of {size}")
    chosen = size or own
    assert chosen is not None
    return chosen
