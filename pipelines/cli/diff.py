"""`m2h diff`: two visits to one place compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.options import common_options, print_json

if TYPE_CHECKING:
    from scenegraph.diff import GraphDiff


@click.command()
@click.argument("run_a", metavar="RUN_A", type=click.Path(path_type=Path))
@click.argument("run_b", metavar="RUN_B", type=click.Path(path_type=Path))
@common_options
def diff(
    run_a: Path, run_b: Path, config_file: Path | None, overrides: tuple[str, ...], quiet: bool, as_json: bool, **_: Any
) -> None:
    """What appeared, disappeared and moved from RUN_A to RUN_B, two visits to one place recorded in the same world.

    Each run may have its own levelling. Positions are in the levelled world of RUN_A.
    """
    from pipelines.config import load_config
    from pipelines.workspace import load_graph
    from scenegraph.diff import DiffConfig, diff_graphs

    config = load_config(DiffConfig, config_file, overrides)
    found = diff_graphs(load_graph(run_a), load_graph(run_b), config)
    if as_json:
        print_json(
            {
                "changes": [change.to_json() for change in found.changes],
                "unchanged": [{"a": a, "b": b} for a, b in found.unchanged],
                "unseen": {"a": found.unseen_a, "b": found.unseen_b},
            }
        )
    else:
        print_changes(found)


def print_changes(found: GraphDiff) -> None:
    """The changes as a table, and in one line what is unchanged and what one visit did not observe."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, emoji=False)  # names of files and classes are no markup
    if found.changes:
        table = Table()
        for column in ("change", "object", "in A", "in B", "from", "to", "metres"):
            table.add_column(column, justify="right" if column == "metres" else "left")
        for change in found.changes:
            far = "" if change.distance is None else f"{change.distance:.2f}"
            where = (_point(change.position_a), _point(change.position_b))
            table.add_row(change.kind, change.label.replace("_", " "), change.key_a, change.key_b, *where, far)
        console.print(table)
    unseen = len(found.unseen_a) + len(found.unseen_b)
    console.print(
        f"{len(found.changes)} changes, {len(found.unchanged)} objects unchanged, "
        f"{unseen} where only one of the visits has looked"
    )


def _point(position: Any) -> str:
    return "" if position is None else ", ".join(f"{x:.2f}" for x in position)
