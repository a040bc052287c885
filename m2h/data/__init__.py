"""Training data: one reader per published layout, all returning `Sample`s in the conventions of the project.

`open_dataset("nyudv2:/data/NYUDv2#train")` opens one. Reading needs no torch.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from m2h.camera import Camera as Camera
from m2h.data.sample import Dataset as Dataset
from m2h.data.sample import DatasetError as DatasetError
from m2h.data.sample import Sample as Sample

DATASETS = {
    "folder": "m2h.data.folder:FolderDataset",
    "nyudv2": "m2h.data.nyudv2:NYUDv2Dataset",
    "nyudv2-mat": "m2h.data.nyudv2:NYUDv2MatDataset",
    "hypersim": "m2h.data.hypersim:HypersimDataset",
    "cityscapes": "m2h.data.cityscapes:CityscapesDataset",
}


def open_dataset(address: str, base: Path | None = None) -> Dataset:
    """The dataset at `FORMAT:PATH` or `FORMAT:PATH#SPLIT`; a relative path is below `base`.

    Raises DatasetError for an unknown format (with the known ones) and as the reader does.
    """
    name, colon, rest = address.partition(":")
    if not colon or name not in DATASETS:
        raise DatasetError(f"dataset {address!r}: expected FORMAT:PATH[#SPLIT] with one of {', '.join(DATASETS)}")
    location, _, split = rest.partition("#")
    module, _, attribute = DATASETS[name].partition(":")
    opener: Any = getattr(importlib.import_module(module), attribute)
    path = (base or Path()) / Path(location).expanduser()
    if not path.exists():
        raise DatasetError(f"dataset {address!r}: {path} does not exist")
    if split and split not in opener.splits:
        known = ", ".join(opener.splits) or "none"
        raise DatasetError(f"dataset {address!r}: {name} has no split {split!r}; splits are: {known}")
    dataset: Dataset = opener(path, split) if split else opener(path)
    return dataset
