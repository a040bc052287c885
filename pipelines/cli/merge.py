"""`m2h merge`: several recordings of one building in one map and one graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.diff import REGISTER
from pipelines.cli.options import common_options, print_json, progress_reporter

if TYPE_CHECKING:
    from pipelines.visits import Register


@click.command()
@click.argument("runs", metavar="RUN RUN ...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Run folder of the merged map.")
@REGISTER
@common_options
def merge(runs: tuple[Path, ...], out: Path, quiet: bool, as_json: bool, register: Register, **_: Any) -> None:
    """Join the maps of finished runs of one building: overlapping parts, or other days.

    Each RUN is placed in the world of the first one. The volumes are summed and the graph is built again; objects that some
    visits saw gone keep their surface and get presence intervals; tracks and cameras of all runs are kept. Visits whose
    clocks overlap follow each other in the order given.

    \b
    m2h merge monday/ tuesday/ --out both/
    """
    from pipelines.cli.run import print_stages
    from pipelines.merging import merge_runs

    with progress_reporter(quiet=quiet) as progress:
        manifest = merge_runs(runs, out, register=register, progress=progress)
    if as_json:
        print_json(manifest)
    elif not quiet:
        print_stages(manifest, list(manifest["stages"]), out)
