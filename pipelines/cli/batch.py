"""`m2h batch`: many sequences, or one in pieces, on any executor."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.diff import REGISTER
from pipelines.cli.options import common_options, print_json, progress_reporter, say, terminal_console

if TYPE_CHECKING:
    from pipelines.batch.board import StepStatus
    from pipelines.batch.status import BatchStatus
    from pipelines.visits import Register

PLAN = click.argument("plan_folder", metavar="PLAN", type=click.Path(path_type=Path))
SLURM, SLURM_FILE = "slurm-array", "slurm_array.sh"
MOST_SHOWN = 20
"""Steps under way that a table lists."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def batch() -> None:
    """Map many sequences, or large ones in pieces, by any number of workers that share a folder.

    \b
    m2h batch plan recordings.yaml --out plan/
    m2h batch run plan/                              # all cores of this machine
    m2h batch run plan/ --shard 3/16                 # one job of 16, see --executor slurm-array
    m2h batch status plan/
    """


@batch.command()
@click.argument("list_file", metavar="LIST.yaml", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the plan and its run folders.")
@common_options
def plan(
    list_file: Path, out: Path, config_file: Path | None, overrides: tuple[str, ...], quiet: bool, as_json: bool
) -> None:
    """Write a plan of the sequences and settings of LIST.yaml; changed entries of an earlier plan are done again.

    \b
    sequences:
      - recordings/*                  # paths relative to the list
      - {path: tum:desk, name: desk, set: [tsdf.voxel_size=0.02]}
      - {path: tower, pieces: 16, building: tower}
    config: fast                      # for all, like set, source, refine and pieces
    """
    from pipelines.batch.plan import make_plan

    made = make_plan(list_file, out, config_file, overrides)
    if as_json:
        print_json({"plan": str(out), "sequences": [unit.name for unit in made.units], "steps": len(made.steps)})
    elif not quiet:
        say(f"{out}: {len(made.units)} sequences in {len(made.steps)} steps; m2h batch run {out} does them")


@batch.command()
@PLAN
@click.option(
    "--shard", metavar="I/N", help="Be number I (from 0) of N workers, and begin with the sequences of that share."
)
@click.option(
    "--executor",
    default="processes",
    show_default=True,
    help=f"processes, sequential (in this process), dask, module:function, or {SLURM}: print a script for sbatch.",
)
@click.option("--workers", type=click.IntRange(1), help="Steps at a time. [default: as many as cores and memory allow]")
@click.option(
    "--scheduler", metavar="ADDRESS", help="Of a running Dask scheduler. [default: a cluster on this machine]"
)
@click.option("--retry", is_flag=True, help="Try again what failed before.")
@common_options
def run(
    plan_folder: Path,
    shard: str | None,
    executor: str,
    workers: int | None,
    scheduler: str | None,
    retry: bool,
    quiet: bool,
    as_json: bool,
    **_: Any,
) -> None:
    """Do what is left of PLAN. Several may work on one plan, on as many machines as share its folder, and may end at any time.

    A sequence that fails is listed with its line and does not stop the others; the exit code is then 1.
    """
    from pipelines.batch.executors import open_executor
    from pipelines.batch.machine import worker_request
    from pipelines.batch.running import BatchOptions, run_batch
    from pipelines.batch.status import batch_status

    if executor == SLURM:
        _print_slurm(plan_folder, workers)
        return
    request = worker_request(workers, scheduler)
    options = BatchOptions(request.workers, _shard(shard), retry, is_local=scheduler is None)
    with _terminable(), progress_reporter(quiet=quiet) as progress:
        listed: set[str] = set()

        def report(statuses: Mapping[str, StepStatus]) -> None:
            status = batch_status(statuses)
            for failed in status.failed:
                if failed.name not in listed and not quiet:
                    say(f"{failed.name}: {failed.line}", err=True)
                listed.add(failed.name)
            done = sum(each.state in ("done", "failed", "blocked") for each in statuses.values())
            progress("steps", done, len(statuses))

        statuses = run_batch(plan_folder, open_executor(executor, request), options, report)
    _show(plan_folder, batch_status(statuses), quiet=quiet, as_json=as_json)


@batch.command()
@PLAN
@common_options
def status(plan_folder: Path, quiet: bool, as_json: bool, **_: Any) -> None:
    """How far PLAN is: counts, what is under way where, what failed and why, the time left."""
    from pipelines.batch.board import Board
    from pipelines.batch.plan import read_plan
    from pipelines.batch.status import batch_status

    found = batch_status(Board(read_plan(plan_folder)).read())
    if as_json:
        print_json(found.to_data())
    else:
        print_status(plan_folder, found)


@batch.command()
@PLAN
@REGISTER
@common_options
def merge(plan_folder: Path, quiet: bool, as_json: bool, register: Register, **_: Any) -> None:
    """Join the finished maps of each `building` of PLAN into PLAN/buildings/NAME, as `m2h merge` does."""
    from dataclasses import asdict

    from pipelines.batch.buildings import merge_buildings

    with progress_reporter(quiet=quiet) as progress:
        results = merge_buildings(plan_folder, register=register, progress=progress)
    if as_json:
        print_json({"buildings": [asdict(result) | {"folder": str(result.folder)} for result in results]})
    for result in results if not as_json and not quiet else ():
        without = f", without {', '.join(result.left_out)}" if result.left_out else ""
        say(f"{result.name}: {result.line or f'{len(result.merged)} maps in {result.folder}'}{without}")
    if any(result.line for result in results):
        click.get_current_context().exit(1)


def _show(plan_folder: Path, found: BatchStatus, *, quiet: bool, as_json: bool) -> None:
    """The end of a run; exits with 1 where something failed."""
    if as_json:
        print_json(found.to_data())
    elif not quiet:
        print_status(plan_folder, found)
    if found.failed:
        say(f"m2h: {len(found.failed)} of {found.sequences} sequences failed", err=True)
        click.get_current_context().exit(1)


def print_status(plan_folder: Path, found: BatchStatus) -> None:
    """Tables of the counts, of what is under way, and of what failed."""
    from rich.table import Table

    console = terminal_console()
    under_way = found.sequences - found.done - len(found.failed) - found.waiting
    table = Table(title=str(plan_folder), show_header=False)
    table.add_row("sequences", str(found.sequences))
    for name, count in (
        ("done", found.done),
        ("failed", len(found.failed)),
        ("under way", under_way),
        ("waiting", found.waiting),
        ("frames", found.frames),
    ):
        table.add_row(name, str(count))
    table.add_row("time of all workers", _duration(found.worker_seconds))
    table.add_row("peak memory of a step", f"{found.peak_memory_mb:.0f} MiB")
    table.add_row("time left", "not known yet" if found.seconds_left is None else _duration(found.seconds_left))
    console.print(table)
    if found.running:
        table = Table(title=f"under way ({len(found.running)})")
        for column in ("sequence", "step", "stage", "worker", "since"):
            table.add_column(column)
        for each in found.running[:MOST_SHOWN]:
            stage = f"{each.stage} {each.done}/{each.total}" if each.total else each.stage
            table.add_row(each.name, each.step, stage, each.worker, _duration(each.seconds))
        console.print(table)
    if found.failed:
        table = Table(title=f"failed ({len(found.failed)})")
        for column in ("sequence", "step", "why"):
            table.add_column(column, overflow="fold")
        for failed in found.failed:
            table.add_row(failed.name, failed.step, failed.line)
        console.print(table)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 1
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise click.UsageError(f"--shard {text}: expected I/N, number I from 0 to N - 1 of N workers")
    return int(number), int(count)


def _print_slurm(plan_folder: Path, workers: int | None) -> None:
    """The script, on standard output and in the plan's folder."""
    from mapping.files import write_text_atomic
    from pipelines.batch.job_arrays import ArrayRequest, slurm_script
    from pipelines.batch.plan import read_plan

    jobs = workers or len(read_plan(plan_folder).units)
    command = str(Path(sys.argv[0]).absolute()) if Path(sys.argv[0]).name == "m2h" else f"{sys.executable} -m pipelines"
    text = slurm_script(plan_folder, command, ArrayRequest(jobs))
    write_text_atomic(plan_folder / SLURM_FILE, text)
    for line in text.splitlines():
        say(line)
    say(f"written to {plan_folder / SLURM_FILE}: change what your cluster wants otherwise, then sbatch it", err=True)


@contextmanager
def _terminable() -> Iterator[None]:
    """Schedulers end a job by SIGTERM some seconds before they kill it: within, that is as Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
