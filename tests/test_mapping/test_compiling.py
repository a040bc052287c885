"""Compiled kernels are dropped when any source they may depend on changes, and only then."""

from __future__ import annotations

import pytest

from mapping.compiling import drop_stale_kernels


@pytest.fixture
def folder(tmp_path):
    for name in ("tsdf/kernels/a.py", "tsdf/kernels/b.py", "tsdf/layout.py", "tsdf/other.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "tsdf" / "kernels" / "__pycache__").mkdir()
    return tmp_path


def stored(folder):
    path = folder / "tsdf" / "kernels" / "__pycache__" / "a.kernel-3.py311.nbi"
    path.write_text("compiled")
    return path


@pytest.mark.parametrize(
    ("changed", "stale"),
    [("tsdf/kernels/b.py", True), ("tsdf/layout.py", True), ("tsdf/other.py", False), (None, False)],
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
