"""Weights in and out: our own checkpoint file, and the published state dicts.

A checkpoint is one safetensors file whose header carries the record (`m2h.record`) as JSON: what network it is, what it
expects as input, what its classes and axes mean, how good it is, whose it is. Reading one runs no code from the file.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2h.published_names import published_name
from m2h.record import RECORD_KEY, CheckpointError, CheckpointRecord
from mapping.files import atomic_path
from mapping.reading.archives import opened_archive
from mapping.reading.files import check_regular

if TYPE_CHECKING:
    from torch import Tensor

    from m2h.model import M2H

MOST_WEIGHT_BYTES = 8 << 30


def save_checkpoint(path: Path, model: M2H, record: CheckpointRecord, *, half: bool = False) -> None:
    """Write the model's weights and the record, atomically; `half` stores float16, half the size.

    Raises CheckpointError when the record describes another network.
    """
    import torch

    if record.config != model.config:
        raise CheckpointError(f"{path}: the record's config is not the model's")
    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    save_tensors(path, tensors, {RECORD_KEY: record.to_json(), "format": "pt"})


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically; raises OSError with the file's name when it cannot be written."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:  # what the system said is in its text alone
            raise OSError(str(error)) from error


def read_record(path: Path) -> CheckpointRecord:
    """The record of a checkpoint file, from its header alone; raises CheckpointError for other files."""
    from safetensors import SafetensorError, safe_open

    check_regular(path, CheckpointError)
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error
    if RECORD_KEY not in metadata:
        raise CheckpointError(
            f"{path}: a safetensors file without the header entry {RECORD_KEY}, not a checkpoint of m2h"
        )
    return CheckpointRecord.from_json(metadata[RECORD_KEY], str(path))


def load_checkpoint(path: Path) -> tuple[M2H, CheckpointRecord]:
    """The network in float32 on the CPU, in evaluation mode, and its record.

    Raises CheckpointError naming the file and what is missing, unexpected or of another shape.
    """
    from safetensors.torch import load_file

    from m2h.model import build_model

    record = read_record(path)
    model = build_model(record.config)
    state, own = load_file(path), model.state_dict()
    problems = _differences(own, state)
    if problems:
        raise CheckpointError(f"{path}: weights do not fit the recorded network: {problems}")
    model.load_state_dict({name: value.to(own[name].dtype) for name, value in state.items()})
    return model.eval(), record


def load_published(model: M2H, state_dict: Mapping[str, Tensor]) -> None:
    """Load a state dict of the published network, in place and strictly.

    Raises CheckpointError naming the entries that are missing, unexpected or of another shape; the model is then unchanged.
    """
    own = model.state_dict()
    names = {published_name(name, separable=model.config.separable): name for name in own}
    problems = _differences({published: own[name] for published, name in names.items()}, state_dict)
    if problems:
        raise CheckpointError(f"not a state dict of this network: {problems}")
    model.load_state_dict({name: state_dict[published] for published, name in names.items()})


def published_state_dict(model: M2H) -> dict[str, Tensor]:
    """The model's weights under the published names."""
    return {published_name(name, separable=model.config.separable): x for name, x in model.state_dict().items()}


def load_published_file(path: Path, record: CheckpointRecord) -> M2H:
    """The network of the record with the weights of a published `.pt` file, in evaluation mode.

    The file is read without running code from it. Raises CheckpointError naming it when it contains anything but such weights.
    """
    from m2h.model import build_model

    state_dict = read_state_dict(path)
    model = build_model(record.config)
    try:
        load_published(model, state_dict)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return model.eval()


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pt` file, without the wrappers and prefixes that training scripts add.

    Raises CheckpointError for files that hold anything else than tensors in plain containers.
    """
    import torch

    _check_declared_size(path)
    try:
        with warnings.catch_warnings():
            # torch suggests reading foreign pickles with code allowed; the refusal is enough
            warnings.simplefilter("ignore")
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except Exception as error:  # a damaged pickle ends in an error of any kind
        raise CheckpointError(f"{path}: not a file of plain tensors ({type(error).__name__})") from error
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise CheckpointError(f"{path}: expected a mapping of names to tensors")
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}


def _check_declared_size(path: Path) -> None:
    """Refuse what is no file, and zip files (torch's) that declare more bytes than weights have."""
    check_regular(path, CheckpointError)
    if not zipfile.is_zipfile(path):
        return
    with opened_archive(path, CheckpointError) as archive:
        declared = sum(member.file_size for member in archive.infolist())
    if declared > MOST_WEIGHT_BYTES:
        raise CheckpointError(
            f"{path}: is too large: it declares {declared} bytes, at most {MOST_WEIGHT_BYTES} are read"
        )


def _differences(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """Missing, unexpected and misshapen entries as text, a few of each; empty when there are none."""
    missing = [name for name in expected if name not in given]
    unexpected = [name for name in given if name not in expected]
    misshapen = [
        f"{name} {list(given[name].shape)} for {list(value.shape)}"
        for name, value in expected.items()
        if name in given and given[name].shape != value.shape
    ]
    parts = {"missing": missing, "unexpected": unexpected, "wrong shape": misshapen}
    return "; ".join(f"{len(names)} {what} ({_some(names)})" for what, names in parts.items() if names)


def _some(names: list[str], limit: int = 6) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
