"""The packages depend on each other in one direction, imports stay light, and files stay small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "m2h": set(),
    "mapping": set(),
    "scenegraph": {"mapping"},
    "pipelines": {"m2h", "mapping", "scenegraph"},
}
SOURCES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def imported_packages(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names & MAY_IMPORT.keys()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_downwards(package):
    for path in (ROOT / package).rglob("*.py"):
        assert imported_packages(path) - {package} <= MAY_IMPORT[package], path


@pytest.mark.parametrize(
    "statement",
    [
        "import m2h, mapping, scenegraph, pipelines.cli",
        "from pipelines.cli import main; main(['--help'], standalone_mode=False)",
        "from mapping import Intrinsics, Mesh; from scenegraph import SceneGraph; from pipelines import open_sequence, run",
    ],
)
def test_light_imports_leave_heavy_packages_alone(statement):
    heavy = ("torch", "open3d", "timm", "rerun", "viser")
    code = f"{statement}\nimport sys\nprint('HEAVY', [name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip().splitlines()[-1] == "HEAVY []"


def test_importing_prints_nothing():
    code = "import m2h, mapping, scenegraph, pipelines, pipelines.cli"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == ""
    assert result.stderr == ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_and_functions_stay_small(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} has {node.end_lineno - node.lineno + 1} lines"


def test_test_folders_are_no_packages():
    assert not list((ROOT / "tests").rglob("__init__.py"))
