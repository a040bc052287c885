"""The contents of a wheel: every module and data file of the four packages, and nothing else; it needs no checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("m2h", "mapping", "scenegraph", "pipelines")
KINDS = {".py", ".typed", ".safetensors", ".txt", ".js", ".css", ".html"}
PRESETS = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
LABEL_SPACES = sorted(path.stem for path in (ROOT / "configs" / "label_spaces").glob("*.yaml"))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the sources, with additional files that a wheel must not contain."""
    pytest.importorskip("setuptools", "77", reason="needs setuptools 77 or newer to build without a network")
    source = tmp_path_factory.mktemp("wheel") / "source"
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*PACKAGES, "tests", "configs", "benchmarks", "examples", "docs"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=leave)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "mapping_old").mkdir()
    (source / "mapping_old" / "__init__.py").write_text("")
    (source / "mapping" / "__pycache__").mkdir()
    (source / "mapping" / "__pycache__" / "camera.cpython-311.pyc").write_text("")
    (source / "m2h" / "shipped" / "small.safetensors").write_bytes(b"weights")
    return source


@pytest.fixture(scope="module")
def built(source):
    """The output of pip while building the wheel, and the wheel."""
    command = [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--no-build-isolation"]
    result = subprocess.run(
        [*command, "-w", str(source.parent), str(source)], check=True, capture_output=True, text=True
    )
    (wheel,) = source.parent.glob("*.whl")
    return result.stdout + result.stderr, wheel


def test_versions_that_ci_tests_are_within_the_bounds():
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = {canonicalize_name(pin.name): pin.specifier for pin in map(Requirement, lines)}
    for needed in map(Requirement, requires("m2h-mapping")):
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("dev", "dsg")):
            (pin,) = tested[canonicalize_name(needed.name)]
            assert pin.operator == "=="
            assert needed.specifier.contains(pin.version), needed


def test_the_wheel_contains_the_packages_and_nothing_else(source, built):
    found = {name for name in zipfile.ZipFile(built[1]).namelist() if ".dist-info/" not in name}
    files = (path for package in PACKAGES for path in (source / package).rglob("*"))
    assert found == {path.relative_to(source).as_posix() for path in files if path.suffix in KINDS} | {
        *(f"pipelines/configs/{name}.yaml" for name in PRESETS),
        *(f"scenegraph/label_spaces/{name}.yaml" for name in LABEL_SPACES),
    }


def test_a_wheel_of_the_sdist_has_the_same_files(source, built):
    """An sdist is what pip builds from where there is no wheel."""
    folder = source.parent / "sdist"
    folder.mkdir()
    build = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, check=True, capture_output=True)
    (archive,) = folder.glob("m2h_mapping-*.tar.gz")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(archive),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (again,) = folder.glob("*.whl")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(built[1]).namelist())


def test_large_packages_are_extras(built):
    """Recorded depth is mapped without PyTorch and Open3D (`test_slim.py`), so that they are not installed with the rest."""
    with zipfile.ZipFile(built[1]) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    needed = [Requirement(line.partition(": ")[2]) for line in lines if line.startswith("Requires-Dist: ")]
    always = {canonicalize_name(r.name) for r in needed if r.marker is None}
    assert not always & {"torch", "torchvision", "timm", "open3d", "onnxruntime", "transformers", "pycolmap"}
    extras = {r.name for r in needed if r.marker is not None and r.marker.evaluate({"extra": "torch"})}
    assert extras >= {"torch", "timm"}


def test_building_warns_of_no_package(built):
    assert "absent from the `packages` configuration" not in built[0]
    assert "SetuptoolsDeprecationWarning" not in built[0]


def test_presets_label_spaces_and_weights_are_found_without_a_checkout(built, tmp_path):
    zipfile.ZipFile(built[1]).extractall(tmp_path)
    code = """if True:
        from pathlib import Path
        from m2h.weights import resolve_weights
        from pipelines.config import config_path
        from scenegraph.labels import load_label_space
        import sys
        presets, spaces = sys.argv[1].split(), sys.argv[2].split()
        print(*[config_path(Path(name)) for name in presets], resolve_weights("m2h-rooms")[0])
        assert [load_label_space(name).name for name in spaces] == spaces
    """
    result = subprocess.run(
        [sys.executable, "-c", code, " ".join(PRESETS), " ".join(LABEL_SPACES)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = [Path(path) for path in result.stdout.split()]
    assert len(found) == len(PRESETS) + 1
    assert all(path.is_file() and path.is_relative_to(tmp_path) for path in found)
