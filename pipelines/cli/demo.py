"""`m2h demo`: the built-in synthetic apartment, mapped and compared with its truth."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.options import common_options, print_json, progress_reporter

if TYPE_CHECKING:
    from scenegraph.graph import SceneGraph

DEMO_SEED = 7


@click.command()
@click.option("--out", default="m2h-demo", show_default=True, type=click.Path(path_type=Path), help="Output folder.")
@common_options
def demo(out: Path, config_file: Path | None, overrides: tuple[str, ...], quiet: bool, as_json: bool) -> None:
    """Render a furnished apartment through which a person walks, map it, and compare the map with the truth.

    Writes OUT/sequence (images, depth, labels, ground truth) and OUT/run (mesh, scene graph, report). Takes a few minutes.
    """
    from pipelines.cli.run import print_summary
    from pipelines.config import config_path, load_config
    from pipelines.evaluate import evaluate
    from pipelines.pipeline import run
    from pipelines.sequences.detect import open_sequence
    from pipelines.settings import PipelineConfig
    from pipelines.synth.simulate import SynthConfig, simulate
    from pipelines.workspace import load_graph
    from scenegraph.files.json_io import load_scene_graph

    config = load_config(PipelineConfig, config_path(config_file), overrides)
    sequence, run_folder = out / "sequence", out / "run"
    with progress_reporter(quiet=quiet) as progress:
        simulate(sequence, SynthConfig(seed=DEMO_SEED, people=1), progress=progress)
        manifest = run(open_sequence(sequence), run_folder, config=config, progress=progress)
    metrics = evaluate(run_folder, sequence)
    if as_json:
        print_json({"manifest": manifest, "metrics": metrics})
    elif not quiet:
        print_summary(manifest, run_folder)
        truth = load_scene_graph(sequence / "ground_truth" / "scene_graph.json")
        print_comparison(load_graph(run_folder), truth, metrics)


def print_comparison(found: SceneGraph, truth: SceneGraph, metrics: dict[str, Any]) -> None:
    """Rooms, objects and tracks, found and true, and how well they agree."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title="found and true")
    for column in ("what", "found", "true"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for layer, name in (
        ("storey", "storeys"),
        ("room", "rooms"),
        ("object", "objects"),
        ("track", "people"),
    ):
        table.add_row(name, str(len(_seen(found, layer))), str(len(_seen(truth, layer))), style="bold")
        if layer in ("room", "object"):
            here, there = (Counter(node.label for node in _seen(graph, layer)) for graph in (found, truth))
            for label in sorted(here | there):
                table.add_row(f"  {label.replace('_', ' ')}", str(here[label] or ""), str(there[label] or ""))
    console.print(table)
    lines = {
        "mesh": "F at 5 cm {f_5cm:.3f}, label accuracy {label_accuracy:.3f}",
        "objects": "F1 {f1_25:.3f} at IoU 0.25",
        "rooms": "F1 {f1:.3f}",
        "tracks": "precision {precision:.3f}, recall {recall:.3f}, ghosts {ghost_share:.4f}",
    }
    for section, text in lines.items():
        if section in metrics:
            console.print(f"{section:<8} {text.format(**metrics[section])}", highlight=False)


def _seen(graph: SceneGraph, layer: str) -> list[Any]:
    """Nodes of a layer; of true objects and tracks those visible in some frame."""
    nodes = [node for _, node in graph.nodes(layer)]
    return [node for node in nodes if node.views > 0] if layer == "object" else nodes
