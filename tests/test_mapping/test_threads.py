"""How many threads work: as many as the machine, the scheduler, the container and the other workers leave."""

import os

import pytest

from mapping import cores
from mapping.cores import available_cores
from mapping.threads import MAX_THREADS, THREADS_VARIABLE, ThreadsError, thread_count


@pytest.fixture
def eight_cores(monkeypatch, tmp_path):
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(cores, "CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.setattr(cores, "CPU_QUOTA", (tmp_path / "quota", tmp_path / "period"))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "count"), [("max 100000", 8), ("250000 100000", 3), ("20000 100000", 1), ("1600000 100000", 8), ("", 8)]
)
def test_the_quota_of_a_container_counts(eight_cores, text, count):
    (eight_cores / "cpu.max").write_text(text + "\n")
    assert available_cores() == count


@pytest.mark.parametrize(("quota", "count"), [("-1", 8), ("200000", 2)])
def test_the_quota_of_the_first_version_counts(eight_cores, quota, count):
    (eight_cores / "quota").write_text(quota + "\n")
    (eight_cores / "period").write_text("100000\n")
    assert available_cores() == count


def test_threads_follow_the_cores_and_the_environment(eight_cores, monkeypatch):
    assert thread_count(None) == MAX_THREADS
    assert thread_count(7) == 7
    monkeypatch.setenv(THREADS_VARIABLE, "1")
    assert thread_count(None) == 1
    assert thread_count(3) == 3
    monkeypatch.setenv(THREADS_VARIABLE, "none")
    with pytest.raises(ThreadsError, match="M2H_THREADS=none: expected a whole number"):
        thread_count(None)
