"""Compiled kernels are dropped when any source they may depend on changes, and only then."""

from __future__ import annotations

import pytest

from mapping._kernel_cache import drop_stale_kernels


@pytest.fixture
def folder(tmp_path):
    for name in ("_a_numba.py", "_b_numba.py", "_tsdf_numpy.py", "other.py"):
        (tmp_path / name).write_text(name)
    (tmp_path / "__pycache__").mkdir()
    return tmp_path


def stored(folder):
    path = folder / "__pycache__" / "_a_numba.kernel-3.py311.nbi"
    path.write_text("compiled")
    return path


@pytest.mark.parametrize(
    ("changed", "stale"), [("_b_numba.py", True), ("_tsdf_numpy.py", True), ("other.py", False), (None, False)]
)
def test_kernels_are_dropped_when_a_source_changes(folder, changed, stale):
    drop_stale_kernels(folder)
    kernel = stored(folder)
    if changed:
        (folder / changed).write_text("new")
    assert drop_stale_kernels(folder) == stale
    assert kernel.exists() != stale
    assert not drop_stale_kernels(folder)


def test_a_folder_without_a_stamp_is_cleared(folder):
    kernel = stored(folder)
    assert drop_stale_kernels(folder)
    assert not kernel.exists()
