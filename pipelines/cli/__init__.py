"""The `m2h` command. This module has only the names of the commands, so that `m2h --help` loads nothing heavy."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from pipelines.errors import is_known, one_line
from pipelines.limits import check_limit

COMMANDS = {
    "demo": ("pipelines.cli.demo:demo", "Render the built-in synthetic apartment, map it and report what was found."),
    "run": ("pipelines.cli.run:run", "Turn a posed sequence into a mesh and a scene graph; resumable."),
    "inspect": (
        "pipelines.cli.sequences:inspect",
        "Report what a sequence contains and whether its conventions are right.",
    ),
    "poses": ("pipelines.cli.poses:poses", "Poses in metres of a plain video or a folder of images."),
    "ingest": ("pipelines.cli.sequences:ingest", "Copy any readable sequence to the canonical folder."),
    "predict": ("pipelines.cli.run:predict", "Only the predictions of a run."),
    "fuse": ("pipelines.cli.run:fuse", "Only the fusion of a run: volume and mesh."),
    "graph": ("pipelines.cli.run:graph", "Only the scene graph of a run."),
    "export": ("pipelines.cli.results:export", "Write a run's map in another format."),
    "view": ("pipelines.cli.results:view", "View a run in the browser."),
    "query": ("pipelines.cli.query:query", "Query a run's scene graph: objects, rooms, paths."),
    "ask": ("pipelines.cli.query:ask", "Ask a run a question in plain English."),
    "diff": ("pipelines.cli.diff:diff", "What appeared, disappeared and moved between two visits."),
    "merge": ("pipelines.cli.merge:merge", "Join the maps of several recordings of one building."),
    "batch": ("pipelines.cli.batch:batch", "Map many sequences, or large ones in pieces, on any executor."),
    "correct": ("pipelines.cli.correct:correct", "Correct a run's graph: rename, merge, split, room, delete."),
    "eval": ("pipelines.cli.results:evaluate", "Measure a run against the sequence's ground truth."),
    "synth": ("pipelines.cli.sequences:synth", "Render a synthetic world with exact ground truth."),
    "train": ("pipelines.cli.network:train", "Train a network; resumable."),
    "test-model": ("pipelines.cli.network:test_model", "Measure a network on a data set."),
    "weights": ("pipelines.cli.network:weights", "Named checkpoints: list, fetch, import, info."),
    "doctor": ("pipelines.cli.doctor:doctor", "Versions, devices, system libraries and missing extras."),
}
RESUMABLE = ("run", "predict", "fuse", "graph", "merge", "batch", "poses", "train")


class LazyGroup(click.Group):
    """A click group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            check_limit()
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of the output (`| head`) has closed the pipe
            sys.stderr.close()
            ctx.exit(0)
        except KeyboardInterrupt:
            more = "; the same command continues from here" if ctx.invoked_subcommand in RESUMABLE else ""
            click.echo(f"m2h: stopped{more}", err=True)
            ctx.exit(130)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if not is_known(error):
                raise
            click.echo(f"m2h: {one_line(error)}", err=True)
            ctx.exit(1)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="m2h-mapping", prog_name="m2h")
def main() -> None:
    """RGB sequences with camera poses to a metric-semantic mesh and a 3D scene graph, offline.

    Start with `m2h demo`, or `m2h inspect SEQ` and `m2h run SEQ --out RUN` on your own recording.
    """
