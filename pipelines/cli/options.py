"""Shared by all commands: options, progress bars, and output."""

from __future__ import annotations

import functools
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mapping.compiling import compilations_reported_to
from mapping.text import for_terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

F = TypeVar("F", bound=Callable[..., Any])
COMPILING = "compiling, once"
"""What progress says while kernels are compiled; they are kept on disk."""


def common_options(command: F) -> F:
    """Add --config, --set, -v/-q and --json; the command gets `config_file`, `overrides`, `verbosity` and `as_json`."""
    options = [
        click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            help="YAML file with settings, or for `run` and `demo` a preset's name.",
        ),
        click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="One setting; may be repeated."),
        click.option("-v", "--verbose", "verbose", count=True, help="Log more on standard error."),
        click.option("-q", "--quiet", "quiet", is_flag=True, help="No progress bars and no summary."),
        click.option("--json", "as_json", is_flag=True, help="End with one JSON object on standard output."),
    ]

    @functools.wraps(command)
    def wrapped(*args: Any, verbose: int, quiet: bool, **kwargs: Any) -> Any:
        level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
        logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", force=True)
        return command(*args, quiet=quiet, **kwargs)

    result: Any = wrapped
    for option in reversed(options):
        result = option(result)
    return result  # type: ignore[no-any-return]


def print_json(data: Any) -> None:
    """One JSON object on standard output."""
    click.echo(json.dumps(data, indent=2, allow_nan=False))


def say(line: str, *, err: bool = False) -> None:
    """One line on standard output or error; what names contain is shown and not obeyed by the terminal."""
    click.echo(for_terminal(line), err=err)


def terminal_console(*, stderr: bool = False) -> Console:
    """A console of rich for which text is text: brackets are no markup, colons no emoji, control characters are shown."""
    from rich.console import Console

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(for_terminal(text), **options)

    return Plain(stderr=stderr, markup=False, emoji=False)


@contextmanager
def progress_reporter(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A callback `(what, done, total)`: a bar on standard error, or a line every ten seconds where that is not a terminal.

    A total of 0 means that there is nothing to do. It shows too when kernels are compiled, as on the first run on a machine.
    """
    if quiet:
        yield lambda what, done, total: None
    else:
        with _bars() if sys.stderr.isatty() else _plain_lines() as report:
            yield report


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<10}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=terminal_console(stderr=True)) as progress:
        tasks: dict[str, Any] = {}
        compiling = progress.add_task(COMPILING, total=None, visible=False)

        def report(what: str, done: int, total: int) -> None:
            if total == 0:
                progress.console.print(f"{what}: up to date")
                return
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        def report_kernel(name: str, event: str) -> None:
            progress.update(compiling, advance=event == "ends", visible=event == "begins")

        with compilations_reported_to(report_kernel):
            yield report


@contextmanager
def _plain_lines(every: float = 10.0) -> Iterator[Callable[[str, int, int], None]]:
    last: dict[str, float] = {}
    compiled: list[str] = []

    def report(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if total == 0:
            say(f"{what}: up to date", err=True)
        elif done >= total or now - last.setdefault(what, now) >= every:
            last[what] = now
            say(f"{what}: {done}/{total}", err=True)

    def report_kernel(name: str, event: str) -> None:
        now = time.monotonic()
        if event == "ends":
            compiled.append(name)
        elif COMPILING not in last or now - last[COMPILING] >= every:
            last[COMPILING] = now
            say(f"{COMPILING}: {f'{len(compiled)} kernels' if compiled else 'up to a minute'}", err=True)

    with compilations_reported_to(report_kernel):
        yield report


def range_of(text: str) -> tuple[int, int | None]:
    """First frame, and one past the last one or None for the end, of `A:B`; raises ConfigError."""
    from pipelines.config import ConfigError

    start, colon, stop = text.partition(":")
    if not colon or not all(
        part == "" or (part.isascii() and part.isdigit() and len(part) < 10) for part in (start, stop)
    ):
        raise ConfigError(f"--range {text}: expected A:B, frame indices, either may be empty")
    return int(start or 0), int(stop) if stop else None
