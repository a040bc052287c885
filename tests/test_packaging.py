"""What a wheel holds: every module and data file of the four packages, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("m2h", "mapping", "scenegraph", "pipelines")
KINDS = {".py", ".typed", ".safetensors"}


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_nothing_else(tmp_path):
    pytest.importorskip("setuptools", "77", reason="needs setuptools 77 or newer to build without a network")
    source = tmp_path / "source"
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*PACKAGES, "tests", "configs", "benchmarks", "examples", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=leave)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "mapping_old").mkdir()
    (source / "mapping_old" / "__init__.py").write_text("")
    (source / "m2h" / "shipped").mkdir(exist_ok=True)
    (source / "m2h" / "shipped" / "small.safetensors").write_bytes(b"weights")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for package in PACKAGES for path in (source / package).rglob("*"))
    assert held == {path.relative_to(source).as_posix() for path in files if path.suffix in KINDS}
