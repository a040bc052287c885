"""`m2h diff`: two visits to one place compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.options import common_options, print_json, terminal_console

if TYPE_CHECKING:
    from pipelines.visits import Register
    from scenegraph.diff import GraphDiff

REGISTER = click.option(
    "--register",
    type=click.Choice(("auto", "poses")),
    default="auto",
    show_default=True,
    help="auto: the poses of the recordings say where one lies in the other, or their surfaces where those do not fit so; "
    "poses: the poses alone.",
)


@click.command()
@click.argument("run_a", metavar="RUN_A", type=click.Path(path_type=Path))
@click.argument("run_b", metavar="RUN_B", type=click.Path(path_type=Path))
@REGISTER
@common_options
def diff(
    run_a: Path,
    run_b: Path,
    config_file: Path | None,
    overrides: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    register: Register,
    **_: Any,
) -> None:
    """What appeared, disappeared and moved from RUN_A to RUN_B, two visits to one place.

    Each run may have its own levelling, and its own origin. Positions are in the levelled world of RUN_A.
    """
    from pipelines.config import load_config
    from pipelines.visits import compare_runs
    from scenegraph.visits.diff_config import DiffConfig

    config = load_config(DiffConfig, config_file, overrides)
    found = compare_runs(run_a, run_b, config, register=register)
    if as_json:
        print_json(
            {
                "changes": [change.to_json() for change in found.changes],
                "unchanged": [{"a": a, "b": b} for a, b in found.unchanged],
                "unseen": {"a": found.unseen_a, "b": found.unseen_b},
                "confirmed": {"a": found.confirmed_a, "b": found.confirmed_b},
            }
        )
    else:
        print_changes(found)


def print_changes(found: GraphDiff) -> None:
    """The changes as a table, and in one line what is unchanged and what one visit did not observe."""
    from rich.table import Table

    console = terminal_console()
    if found.changes:
        table = Table()
        for column in ("change", "object", "in A", "in B", "from", "to", "metres", "confidence"):
            table.add_column(column, justify="right" if column in ("metres", "confidence") else "left")
        for change in found.changes:
            far = "" if change.distance is None else f"{change.distance:.2f}"
            where = (_point(change.position_a), _point(change.position_b))
            kind = change.kind if change.carrier is None else f"{change.kind} with {change.carrier}"
            sure = f"{change.confidence:.2f}"
            table.add_row(kind, change.label.replace("_", " "), change.key_a, change.key_b, *where, far, sure)
        console.print(table)
    for name, other, keys in (("A", "B", found.confirmed_a), ("B", "A", found.confirmed_b)):
        if keys:
            console.print(
                f"also there in {other}, which has no object of it: {', '.join(keys)} of {name}", markup=False
            )
    unseen = len(found.unseen_a) + len(found.unseen_b)
    console.print(
        f"{len(found.changes)} changes, {len(found.unchanged)} objects unchanged, "
        f"{unseen} where only one of the visits has looked"
    )


def _point(position: Any) -> str:
    return "" if position is None else ", ".join(f"{x:.2f}" for x in position)
