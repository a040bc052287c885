"""Damage to files and settings, drawn by hypothesis, and the one way in which readers may refuse it."""

from __future__ import annotations

import faulthandler
import json
import os
import re
import resource
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st

from pipelines.errors import LONGEST_LINE, is_known, one_line
from pipelines.limits import is_lack_of_memory

MOST_BYTES = 3 << 29
"""Of address space for one input, besides what the libraries have: 2 GB in all."""
MOST_SECONDS = 20.0
"""Of processor time for one input; the largest takes one."""
HANG_SECONDS = 900.0
"""After which an input that uses no processor time, a pipe say, hangs: the tests end with a stack."""
_IS_BOUNDED = ContextVar("_IS_BOUNDED", default=False)

HOSTILE_NUMBERS = (
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e308", "-1e308", "1e300", "1e30", "1e10", "-1", "0", "-0.0"),
    *("1e-10", "1e-320", "0.5", "2147483648", "9223372036854775808", "9" * 30, "9" * 400, "9" * 5000),
)
"""As they are written in JSON and in tables."""
HOSTILE_TEXTS = ("", "\0", "\ud800", "[/b]", "=cmd", "../..", "/dev/zero", "x" * 5000, "\n\x1b[2J", "\u0663", "\u00b2")
HOSTILE_JSON = (
    *HOSTILE_NUMBERS,
    *(json.dumps(text) for text in HOSTILE_TEXTS),
    *("null", "true", "[]", "{}", "[[]]", '{"a": 1}', "[" * 80 + "]" * 80, "[" * 50_000, "{"),
)
HOSTILE_YAML = (
    *HOSTILE_NUMBERS,
    *(
        ".nan",
        ".inf",
        "-.inf",
        "2001-99-99",
        "2001-01-01",
        "1:" * 40 + "1",
        "0x" + "f" * 40,
        "~",
        "yes",
        "[]",
        "{}",
        "[" * 3000,
    ),
    *(
        '"\\0"',
        '"\\ud800"',
        '"[/b]"',
        "!!python/name:os.system",
        "&a [*a]",
        "*a",
        "{<<: {a: 1}}",
        "!!binary a",
        "- 1",
        ": :",
    ),
)
SHORT = settings(
    deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=False
)
"""The same examples in every run."""
LONG = settings(
    deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True, max_examples=1000
)
"""Others in every run; a failure prints how to repeat it."""


@contextmanager
def bounded() -> Iterator[None]:
    """Within, more than MOST_BYTES of memory cannot be had; fails where it takes longer than MOST_SECONDS or does not end."""
    if _IS_BOUNDED.get():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, hard))
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    token, start = _IS_BOUNDED.set(True), time.process_time()
    try:
        yield
    finally:
        _IS_BOUNDED.reset(token)
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.process_time() - start <= MOST_SECONDS


def refused(work: Callable[[], Any]) -> str:
    """The line with which an error of ours refuses something, empty when it is accepted; any other error fails the test, and
    so does what `bounded` does not allow."""
    try:
        with bounded():
            work()
    except Exception as error:
        if not is_known(error) or is_lack_of_memory(error):
            raise
        line = one_line(error)
        assert 0 < len(line) <= LONGEST_LINE
        line.encode()  # no half of a surrogate pair: it can be printed
        return line
    return ""


def counted(line: str) -> str:
    """The line of `refused`, counted in the statistics of hypothesis (`--hypothesis-show-statistics`)."""
    event("refused" if line else "accepted")
    return line


def fresh_copy(source: Path, target: Path) -> Path:
    """The folder anew, as it was before the last example damaged it."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target))


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Data that is cut, lengthened, or of which a few bytes are others."""
    kind = draw(st.sampled_from(("cut", "flip", "insert", "zero")))
    at = draw(st.integers(0, max(len(data) - 1, 0)))
    if kind == "cut":
        return data[:at]
    if kind == "insert":
        return data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at:]
    count = draw(st.integers(1, 8))
    other = bytes(count) if kind == "zero" else draw(st.binary(min_size=count, max_size=count))
    return data[:at] + other + data[at + count :]


@st.composite
def damaged_text(draw: st.DrawFn, data: bytes, tokens: tuple[str, ...]) -> bytes:
    """Text of which a word or number is replaced by a hostile one, or whose bytes are damaged."""
    if not data or draw(st.integers(0, 3)) == 0:
        return draw(damaged_bytes(data))
    text = data.decode("latin-1")
    places = [found.span() for found in re.finditer(r'"[^"\n]*"|[^\s,:\[\]{}"]+', text)]
    if not places:
        return draw(damaged_bytes(data))
    start, end = draw(st.sampled_from(places))
    token = draw(st.sampled_from(tokens)).encode("utf-8", "surrogatepass").decode("latin-1")
    return (text[:start] + token + text[end:]).encode("latin-1")


SPECIAL = ("pipe", "device", "folder", "socket", "nothing", "loop")
"""What a file may be besides one with contents: waiting for a pipe or reading a device never ends."""


def make_special(path: Path, kind: str) -> None:
    """What is no regular file in place of a file."""
    clear(path)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        path.symlink_to({"device": "/dev/zero", "nothing": "none", "loop": path.name}[kind])


def clear(path: Path) -> None:
    """Remove a file, or what `make_special` put in its place."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def damage(data: st.DataObject, path: Path, whole: Path) -> None:
    """Put other contents than those of the undamaged file `whole` into a file, or something that is no file in its place."""
    kind = data.draw(st.sampled_from((*["contents"] * (4 * len(SPECIAL)), *SPECIAL)), label="kind")
    if kind == "contents":
        clear(path)
        path.write_bytes(data.draw(damaged_file(whole), label="contents"))
    else:
        make_special(path, kind)


def damaged_file(path: Path) -> st.SearchStrategy[bytes]:
    """Other contents for a file, by its kind."""
    data = path.read_bytes()
    if path.suffix == ".json" or path.name == "metadata":
        return damaged_text(data, HOSTILE_JSON)
    if path.suffix in (".yaml", ".yml"):
        return damaged_text(data, HOSTILE_YAML)
    if path.suffix in (".txt", ".csv", ".traj", ".pincam", ".freiburg", ".tsv"):
        return damaged_text(data, (*HOSTILE_NUMBERS, *HOSTILE_TEXTS))
    return damaged_bytes(data)
