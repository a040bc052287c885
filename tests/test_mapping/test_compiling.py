"""A kernel on disk is used as long as all that is compiled into it is the same, and no longer; nothing on disk breaks it."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mapping
import pipelines
from mapping.compiling import compilations_reported_to
from mapping.kernel_cache import KernelCache, fingerprint

ROOT = Path(mapping.__file__).parents[1]
INNER = """
import numba
import numpy as np
from typing import NamedTuple
from numba import types
from numba.extending import intrinsic
from mapping.compiling import kernel

SCALE = np.float32(2)
TABLE = np.arange(3)
OPTIONS = {"fastmath": {"contract", "nsz"}}

class Pair(NamedTuple):
    low: float
    high: float

@intrinsic
def one(context):
    def generate(context, builder, signature, arguments):
        return context.get_constant(types.int64, 1)
    return types.int64(), generate

@numba.njit(**OPTIONS)
def deepest(x):
    '''Said of it.'''
    return x * SCALE + TABLE[1]

@numba.njit
def deeper(x):
    return deepest(x) + one()
"""
OUTER = """
import sys
from inner import deeper
from mapping.compiling import kernel, compilations_reported_to

@kernel(nogil=True)
def outer(x):
    return deeper(x) + 10

if __name__ == "__main__":
    compiled = []
    with compilations_reported_to(lambda name, event: compiled.append(name) if event == "begins" else None):
        print(outer(int(sys.argv[1])), len(compiled))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "inner.py").write_text(INNER)
    (tmp_path / "outer.py").write_text(OUTER)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def imported(name):
    """A module as its file is now."""
    for known in ("inner", "outer"):
        sys.modules.pop(known, None)
    importlib.invalidate_caches()
    return importlib.import_module(name)


def edit(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 2))  # Python compares whole seconds


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ("x * SCALE", "x / SCALE", True),
        ("np.float32(2)", "np.float32(3)", True),
        ("np.float32(2)", "np.float64(2)", True),
        ("np.arange(3)", "np.arange(1, 4)", True),
        ('"contract", "nsz"', '"contract"', True),
        ("types.int64, 1", "types.int64, 2", True),
        ("deepest(x) +", "deepest(x + 0) +", True),
        ("'''Said of it.'''", "'''Said in other words.'''", False),
        ("class Pair", "# a comment\nclass Pair", False),
        ("low: float", "lowest: float", False),  # no kernel here is given one
    ],
)
def test_the_fingerprint_is_that_of_all_that_is_compiled(folder, before, after, changes):
    first = fingerprint(imported("outer").outer.py_func)
    assert fingerprint(imported("outer").outer.py_func) == first
    edit(folder / "inner.py", before, after)
    assert (fingerprint(imported("outer").outer.py_func) != first) == changes


def test_an_own_module_is_seen_through_and_recursion_ends(folder):
    edit(folder / "outer.py", "from inner import deeper", "import inner")
    edit(folder / "outer.py", "deeper(x) + 10", "inner.deeper(x) + (outer(x - 1) if x > 0 else 10)")
    first = fingerprint(imported("outer").outer.py_func)
    edit(folder / "inner.py", "x * SCALE", "x / SCALE")
    assert fingerprint(imported("outer").outer.py_func) != first


def test_fields_of_an_argument_count(folder):
    """A kernel reads a named tuple by the places of its fields, which its own text does not say."""

    def key():
        from numba import typeof

        pair = imported("inner").Pair(1.0, 2.0)
        cache = KernelCache(imported("outer").outer.py_func, print)
        return cache._index_key((typeof(pair),), imported("outer").outer.targetctx.codegen())

    first = key()
    assert key() == first
    edit(folder / "inner.py", "    low: float\n    high: float", "    high: float\n    low: float")
    assert key() != first


def test_every_kernel_that_is_kept_is_kept_by_this(folder):
    """numba's own cache asks for one file only."""
    for package in (mapping, pipelines):
        for path in Path(package.__file__).parent.rglob("*.py"):
            assert not re.search(r"\bcache=True", path.read_text()), path


def run_processes(folder, *numbers):
    """What processes that start together print: the results of the kernel and how many kernels they had to compile."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}
    running = [
        subprocess.Popen([sys.executable, "outer.py", str(n)], cwd=folder, env=environment, stdout=subprocess.PIPE)
        for n in numbers
    ]
    said = [process.communicate()[0] for process in running]
    assert all(process.returncode == 0 for process in running)
    return [tuple(map(float, text.split())) for text in said]


@pytest.mark.slow
def test_processes_share_what_is_kept_and_survive_what_is_broken(folder):
    assert [result for result, _ in run_processes(folder, 1, 2, 3)] == [14, 16, 18]
    assert run_processes(folder, 4) == [(20, 0)]
    (kept,) = (folder / "__pycache__").glob("*.nbc*")
    edit(folder / "inner.py", "x * SCALE", "x * SCALE * SCALE")
    assert run_processes(folder, 4) == [(28, 1)]
    (new,) = (folder / "__pycache__").glob("*.nbc*")
    assert new != kept
    for broken in (b"", new.read_bytes()[:1000]):  # as a full disk or a lost power supply leave it
        new.write_bytes(broken)
        assert run_processes(folder, 4) == [(28, 1)]
    assert run_processes(folder, 4) == [(28, 0)]


def test_without_a_folder_to_write_kernels_are_compiled_each_time(folder, monkeypatch):
    def refuse(cache, function):
        raise RuntimeError("no locator available")

    monkeypatch.setattr("numba.core.caching.FunctionCache.__init__", refuse)
    assert imported("outer").outer(1) == 14
    assert not list((folder / "__pycache__").glob("*.nbc"))


def test_listeners_hear_of_what_is_compiled_while_they_listen(folder):
    heard = []
    outer = imported("outer").outer
    with compilations_reported_to(lambda *event: heard.append(event)):
        outer(1)
        outer(2)
    outer(1.5)
    assert heard == [("outer.outer", "begins"), ("outer.outer", "ends")]


@pytest.mark.slow
def test_a_texture_follows_the_noise_that_is_compiled_into_it(tmp_path):
    for name in ("mapping", "pipelines"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = "from pipelines.synth.rendering.kernels.texture import _planks; print(*_planks(0.3, 0.7, 0.01, 1))"

    def tone():
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-c", code]
        text = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
        return float(text.split()[0])

    first = tone()
    edit(tmp_path / "pipelines" / "synth" / "rendering" / "kernels" / "noise.py", "(1.0 / 9007199254740992.0)", "0.0")
    assert tone() != first
