"""Where the address space is limited, one line says what is allowed and what is needed."""

import os
import resource
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pipelines.cli import main
from pipelines.limits import LEAST, check_limit, is_lack_of_memory, limit_message

MIB = 1 << 20


def allow(monkeypatch, size):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (size, resource.RLIM_INFINITY))


def test_without_a_limit_nothing_changes(monkeypatch):
    allow(monkeypatch, resource.RLIM_INFINITY)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    check_limit()
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    assert limit_message() is None
    assert not is_lack_of_memory(ImportError("libx.so: failed to map segment from shared object"))
    assert is_lack_of_memory(MemoryError())


def test_a_limit_is_prepared_for(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    allow(monkeypatch, LEAST)
    check_limit()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    allow(monkeypatch, LEAST - 1)
    with pytest.raises(MemoryError, match="less than 1024 MiB"):
        check_limit()


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libOpen3D.so.0.20: failed to map segment from shared object"),
        OSError("Could not find/load shared object file 'libllvmlite.so'"),
        RuntimeError("can't start new thread"),
        MemoryError("Unable to allocate 54.1 MiB"),
    ],
)
def test_what_libraries_say_is_one_line(monkeypatch, tmp_path, error):
    def fail(*_):
        raise error

    allow(monkeypatch, 1500 * MIB)
    monkeypatch.setattr("pipelines.sequences.detect.open_sequence", fail)
    result = CliRunner().invoke(main, ["inspect", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("m2h: not enough memory (")
    assert "ulimit -v allows 1500 MiB of address space, a run needs about 4096 MiB" in result.stderr


def test_a_limit_that_is_too_small_for_anything(tmp_path):
    command = [sys.executable, "-m", "pipelines", "inspect", str(tmp_path)]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (600 * MIB, 600 * MIB)),
    )
    assert result.returncode == 1
    assert result.stderr.startswith("m2h: not enough memory (less than 1024 MiB); ulimit -v allows 600 MiB")
    assert result.stderr.count("\n") == 1
