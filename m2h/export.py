"""Export of a network to ONNX and OpenVINO, with its record inside the file.

Shapes are fixed: runtimes plan their memory and kernels for them, and a checkpoint's preprocessing names one size anyway.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from m2h.backends import TASKS_KEY, read_onnx_metadata, require
from m2h.model import M2H, prepare_for_inference
from m2h.record import RECORD_KEY, CheckpointError, CheckpointRecord
from m2h.tasks import TASKS, TaskName

OPSET = 18


class _Outputs(nn.Module):
    """The wanted outputs as a tuple: what the exporter takes."""

    def __init__(self, model: M2H, tasks: tuple[TaskName, ...]) -> None:
        super().__init__()
        self.model, self.tasks = model, tasks

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model(images, tasks=self.tasks).values())


def export_onnx(
    model: M2H,
    record: CheckpointRecord,
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    tasks: Collection[TaskName] | None = None,
) -> None:
    """Write the network for one image of `size` (H, W), by default its preprocessing's, as one ONNX file, atomically.

    Needs the package onnxscript. Raises CheckpointError when neither size nor preprocessing says a size, and when `size` is not
    the one that the preprocessing makes.
    """
    require("onnxscript")
    height, width = _fixed_size(record, size)
    wanted = tuple(task for task in TASKS if task in (model.config.tasks if tasks is None else tasks))
    network = _Outputs(prepare_for_inference(model).to(memory_format=torch.contiguous_format), wanted).eval()
    images = torch.zeros(1, 3, height, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter deprecates parts of itself as it goes
        program = torch.onnx.export(
            network,
            (images,),
            input_names=["images"],
            output_names=list(wanted),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for key, value in {RECORD_KEY: record.to_json(), TASKS_KEY: json.dumps(wanted)}.items():
        proto.metadata_props.add(key=key, value=value)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(proto.SerializeToString())
    temporary.replace(path)


def export_openvino(onnx_path: Path, path: Path) -> None:
    """Convert an exported ONNX file to OpenVINO's format: `path` (.xml) and, beside it, the weights (.bin), in float32."""
    openvino = require("openvino")
    model = openvino.Core().read_model(str(onnx_path))
    for key, value in read_onnx_metadata(onnx_path).items():
        model.set_rt_info(value, [key])
    openvino.save_model(model, str(path), compress_to_fp16=False)


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
