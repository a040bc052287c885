"""Properties of this machine: versions, devices, system libraries, and the benefit of each missing extra."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
from typing import Any

from pipelines.versions import package_versions

SYSTEM_LIBRARIES = {
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libgomp.so.1": "libgomp1",
}
REQUIRED_MODULES = "click cv2 networkx numba numpy pydantic rich safetensors scipy shapely yaml".split()
EXTRAS = {
    "torch": ("torch", "depth and labels from images, training"),
    "synth": ("open3d", "m2h synth and m2h demo: rendered worlds"),
    "dsg": ("spark_dsg", "checks exported spark_dsg files by loading them"),
    "rerun": ("rerun", "export to rerun recordings"),
    "dask": ("distributed", "m2h batch run --executor dask"),
    "exr": ("OpenEXR", "depth from OpenEXR files"),
    "hf": ("transformers", "networks of the Hugging Face hub: --source hf:depth=NAME,semantics=NAME"),
    "sfm": ("pycolmap", "poses of plain videos and images, refinement of given poses"),
    "usd": ("pxr", "export to USD"),
}


def diagnose() -> dict[str, Any]:
    """Facts for `m2h doctor`; `problems` lists what prevents the package from working, each with the command that repairs it."""
    problems = []
    has_open3d = importlib.util.find_spec("open3d") is not None
    libraries = {name: _loads(name) for name in SYSTEM_LIBRARIES} if has_open3d else {}
    absent = [SYSTEM_LIBRARIES[name] for name, found in libraries.items() if not found]
    if absent:
        problems.append(f"open3d needs system libraries: apt-get install -y {' '.join(absent)}")
    for requirement in REQUIRED_MODULES:
        if importlib.util.find_spec(requirement) is None:
            problems.append(f"Python package {requirement} is missing: pip install m2h-mapping")
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": package_versions(),
        "gpu": _gpu(),
        "system_libraries": libraries,
        "extras": {name: importlib.util.find_spec(module) is not None for name, (module, _) in EXTRAS.items()},
        "problems": problems,
    }


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _gpu() -> str:
    try:
        import torch
    except ImportError:
        return "unknown (the extra torch is not installed)"
    if not torch.cuda.is_available():
        return "none; everything runs on the CPU"
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
