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
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


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


@contextmanager
def progress_reporter(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A callback `(what, done, total)`: a bar on standard error, or a line every ten seconds where that is not a terminal.

    A total of 0 means that there is nothing to do.
    """
    if quiet:
        yield lambda what, done, total: None
    elif sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        yield _plain_lines()


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if total == 0:
                progress.console.print(f"{what}: up to date")
                return
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield report


def _plain_lines(every: float = 10.0) -> Callable[[str, int, int], None]:
    last: dict[str, float] = {}

    def report(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if total == 0:
            click.echo(f"{what}: up to date", err=True)
        elif done >= total or now - last.setdefault(what, now) >= every:
            last[what] = now
            click.echo(f"{what}: {done}/{total}", err=True)

    return report
