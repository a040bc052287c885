"""Packages and the folders in them depend on each other in one direction, imports stay light, files stay small,
documents are wrapped."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from structure import cycles_of, imports, members_by_folder, module_name

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "m2h": {"mapping.files", "mapping.reading", "mapping.compiling", "mapping.threads"},
    "mapping": set(),
    "scenegraph": {"mapping"},
    "pipelines": {"m2h", "mapping", "scenegraph"},
}
SYSTEM_READERS = ("mapping/available_memory.py", "mapping/cores.py", "pipelines/peak_memory.py")
"""Modules that read files of the system."""
OPENERS = ("archive", "os", "Workspace", "webbrowser", "pycolmap.Database")
"""What may be called `x.open(...)`: it opens no file, a member of an archive that `mapping.reading` opened, a descriptor, or a
database that the program wrote."""
MARKDOWN_WIDTH = 100
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
SOURCES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


@pytest.fixture(scope="module")
def modules():
    """By the name of each module: the modules of ours that it imports."""
    return imports(ROOT)


def test_packages_import_downwards(modules):
    for name, targets in modules.items():
        package = name.partition(".")[0]
        allowed = (package, *MAY_IMPORT[package])
        assert all(target in allowed or target.startswith(tuple(f"{a}." for a in allowed)) for target in targets), name


WRITING_METHODS = (
    "write_text",
    "write_bytes",
    "unlink",
    "rmdir",
    "rename",
    "mkdir",
    "symlink_to",
    "hardlink_to",
)
WRITING_MODULES = ("shutil", "tempfile")
WRITERS = {"mapping/files.py", "mapping/kernel_cache.py", "mapping/tsdf/spill.py", "m2h/event_log.py"}
"""The one place that writes; a cache in numba's own folders, a file without a name, and logs that grow line by line."""


def writes_of(text):
    """Lines that write, remove or rename files and folders otherwise than by `mapping.files`, from which a `temporary` is."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            if set(names) & set(WRITING_MODULES):
                yield node.lineno
        if not isinstance(node, ast.Call):
            continue
        called, owner = node.func, ""
        if isinstance(called, ast.Attribute):
            owner = called.value.id if isinstance(called.value, ast.Name) else "?"
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if owner == "temporary":
            continue
        modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        opened = name == "open" and any(re.fullmatch(r"[rwaxbt+]*[wax+][rwaxbt+]*", mode) for mode in modes)
        if (
            (opened and owner != "archive")
            or name in WRITING_METHODS
            or (owner, name) in (("os", "replace"), ("os", "rename"))
        ):
            yield node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_written_in_one_place(path):
    if str(path.relative_to(ROOT)) not in WRITERS:
        assert not list(writes_of(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "statement",
    [
        "import shutil",
        "from tempfile import mkdtemp",
        "path.write_text('x')",
        "(folder / 'x').write_bytes(b'')",
        "open(path, 'w')",
        "path.open('ab')",
        "os.replace(a, b)",
        "path.unlink()",
    ],
)
def test_writing_elsewhere_is_found(statement):
    assert list(writes_of(statement)) == [1]


def test_what_is_shown_to_the_user_is_made_harmless():
    """Commands print by `say` and `terminal_console`, which do not obey what names contain."""
    for path in (ROOT / "pipelines" / "cli").glob("*.py"):
        if path.name not in ("options.py", "__init__.py"):
            text = path.read_text(encoding="utf-8")
            assert "click.echo(" not in text, path
            assert "rich.console" not in text, path


def test_there_are_no_import_cycles(modules):
    assert {
        folder: cycles_of(members) for folder, members in members_by_folder(modules).items() if cycles_of(members)
    } == {}


@pytest.mark.parametrize(
    ("files", "cycle"),
    [
        (
            {"depth/a.py": "from mapping.mesh.b import x", "mesh/b.py": "", "mesh/c.py": "from mapping.depth import a"},
            True,
        ),
        (
            {"depth/a.py": "def f():\n    from mapping import b", "b.py": "import mapping.depth.c", "depth/c.py": ""},
            True,
        ),
        ({"depth/a.py": "from mapping.mesh import b", "mesh/b.py": "from mapping.se3 import x", "se3.py": ""}, False),
    ],
)
def test_import_cycles_are_found(tmp_path, files, cycle):
    for name, text in files.items():
        path = tmp_path / "mapping" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    (tmp_path / "mapping" / "__init__.py").touch()
    assert any(cycles_of(members) for members in members_by_folder(imports(tmp_path)).values()) == cycle


def test_nothing_imports_the_reference_that_it_is_tested_against(modules):
    for name, targets in modules.items():
        assert not {target for target in targets if target.endswith(".reference")}, name


def test_names_come_from_the_module_that_defines_them(modules):
    """Inside a package nothing takes the names that its `__init__` re-exports, and nothing takes what is private elsewhere."""
    for path in SOURCES:
        name = module_name(path.relative_to(ROOT))
        assert not {target for target in modules[name] if name.startswith(f"{target}.")}, name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MAY_IMPORT:
                private = {alias.name for alias in node.names if alias.name.startswith("_")}
                passed_on = {alias.name for alias in node.names if alias.asname == alias.name}
                assert not private, name
                assert not passed_on or path.name == "__init__.py", name


def reads_of(text):
    """Lines that open or read files otherwise than by `mapping.reading`."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name, owner = ast.unparse(node.func), ""
        if isinstance(node.func, ast.Attribute):
            name, owner = node.func.attr, ast.unparse(node.func.value)
        opens = name == "open" and not re.search(r"'[wax]b?'", " ".join(map(ast.unparse, node.args)))
        if (owner and name in ("read_text", "read_bytes")) or (opens and owner not in OPENERS):
            yield node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_read_in_one_place(path):
    """Methods of paths read anything of any size, a pipe for ever; `mapping.reading` does not."""
    name = path.relative_to(ROOT).as_posix()
    if not name.startswith("mapping/reading/") and name not in SYSTEM_READERS:
        assert not list(reads_of(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "statement", ["open(path)", "open(path, 'rb')", "path.open()", "(a / 'b').read_text()", "path.read_bytes()"]
)
def test_reading_elsewhere_is_found(statement):
    assert list(reads_of(statement)) == [1]


def test_no_two_classes_have_the_same_name():
    where: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}


@pytest.mark.parametrize(
    "statement",
    [
        "import m2h, mapping, scenegraph, pipelines.cli",
        "from pipelines.cli import main; main(['--help'], standalone_mode=False)",
        "from mapping import Intrinsics, Mesh; from scenegraph import SceneGraph; from pipelines import open_sequence, run",
    ],
)
def test_light_imports_leave_heavy_packages_alone(statement):
    heavy = ("torch", "open3d", "timm", "rerun")
    code = f"{statement}\nimport sys\nprint('HEAVY', [name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip().splitlines()[-1] == "HEAVY []"


def test_a_question_to_a_scene_graph_loads_little():
    """Each of these takes longer to import than a whole `m2h query` should take."""
    slow = ("scipy", "cv2", "pydantic", "numba", "torch", "open3d")
    modules = "pipelines.cli.query, pipelines.workspace, scenegraph.files.ground_file, scenegraph.ask, sys"
    code = f"import {modules}\nprint([name for name in {slow!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


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


def names_of(target):
    """How many names an assignment or a loop unpacks to."""
    return sum(map(names_of, target.elts)) if isinstance(target, ast.Tuple | ast.List) else 1


def test_few_names_are_unpacked_at_once():
    """Four where they are one thing, as a rectangle or a shape."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets = [node.target] if isinstance(node, ast.For | ast.comprehension) else getattr(node, "targets", [])
            assert all(names_of(target) <= 4 for target in targets), f"{path}:{targets[0].lineno}"


def test_test_folders_are_no_packages():
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_documents_are_wrapped(path):
    is_code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        is_code ^= line.lstrip().startswith("```")
        assert len(line) <= MARKDOWN_WIDTH or is_code or line.startswith(("|", "#")), f"{path}:{number}"


def test_every_stage_and_every_folder_has_a_line_in_the_architecture() -> None:
    from pipelines.pipeline import FIRST_PASS, STAGES

    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("|")]
    modules = {name.strip(): module for names, module in rows for name in names.split(",")}
    for stage in (*FIRST_PASS, *STAGES):
        assert stage.run.__module__.replace(".", "/") in modules.get(stage.name, ""), stage.name
    named = {folder.strip(" `") for names, _ in rows for folder in names.split(",")}
    for package in MAY_IMPORT:
        for folder in (ROOT / package).rglob("*"):
            if folder.is_dir() and any(folder.glob("*.py")) and folder.name != "kernels":
                assert f"{folder.relative_to(ROOT)}/" in named, folder
