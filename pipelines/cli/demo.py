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
SHOWN = {"m2h": "from images", "recorded": "from recorded depth"}
"""Sources of the two maps, and what they are called in the table."""


@click.command()
@click.option("--out", default="m2h-demo", show_default=True, type=click.Path(path_type=Path), help="Output folder.")
@common_options
def demo(out: Path, config_file: Path | None, overrides: tuple[str, ...], quiet: bool, as_json: bool) -> None:
    """Render a furnished apartment through which a person walks, map it from images and poses alone, and compare with the truth.

    The same is done from the depth and labels that the renderer recorded, as a sensor would give them. Writes OUT/sequence
    (images, depth, labels, ground truth), OUT/run (mesh, scene graph and report from images) and OUT/run_recorded. Takes minutes.
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
    sequence = out / "sequence"
    folders = {"m2h": out / "run", "recorded": out / "run_recorded"}
    manifests = {}
    with progress_reporter(quiet=quiet) as progress:
        simulate(sequence, SynthConfig(seed=DEMO_SEED, people=1), progress=progress)
        for source, folder in folders.items():
            opened = open_sequence(sequence)
            manifests[source] = run(opened, folder, source=source, refine="auto", config=config, progress=progress)
    metrics = {source: evaluate(folder, sequence) for source, folder in folders.items()}
    if as_json:
        print_json(
            {
                "manifest": manifests["m2h"],
                "metrics": metrics["m2h"],
                "recorded": {"manifest": manifests["recorded"], "metrics": metrics["recorded"]},
            }
        )
    elif not quiet:
        print_summary(manifests["m2h"], folders["m2h"])
        truth = load_scene_graph(sequence / "ground_truth" / "scene_graph.json")
        graphs = {SHOWN[source]: load_graph(folder) for source, folder in folders.items()}
        print_comparison(graphs | {"true": truth}, {SHOWN[source]: found for source, found in metrics.items()})


def print_comparison(graphs: dict[str, SceneGraph], metrics: dict[str, dict[str, Any]]) -> None:
    """Rooms, objects and tracks of each graph side by side, and how well each map agrees with the truth."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, emoji=False)  # names of files and classes are no markup
    table = Table(title="what was found, and what is there")
    for column in ("what", *graphs):
        table.add_column(column, justify="left" if column == "what" else "right")
    for layer, name in (("storey", "storeys"), ("room", "rooms"), ("object", "objects"), ("track", "people")):
        seen = [_seen(graph, layer) for graph in graphs.values()]
        table.add_row(name, *(str(len(nodes)) for nodes in seen), style="bold")
        if layer in ("room", "object"):
            counts = [Counter(node.label for node in nodes) for nodes in seen]
            for label in sorted(set().union(*counts)):
                table.add_row(f"  {label.replace('_', ' ')}", *(str(count[label] or "") for count in counts))
    console.print(table)
    lines = {
        "mesh": "F at 5 cm {f_5cm:.3f}, at 10 cm {f_10cm:.3f}, label accuracy {label_accuracy:.3f}",
        "objects": "F1 {f1_25:.3f} at IoU 0.25",
        "rooms": "F1 {f1:.3f}",
        "tracks": "precision {precision:.3f}, recall {recall:.3f}, ghosts {ghost_share:.4f}",
    }
    for source, found in metrics.items():
        console.print(source, style="bold", highlight=False)
        for section, text in lines.items():
            if section in found:
                console.print(f"  {section:<8} {text.format(**found[section])}", highlight=False)


def _seen(graph: SceneGraph, layer: str) -> list[Any]:
    """Nodes of a layer; of true objects and tracks those visible in some frame."""
    nodes = [node for _, node in graph.nodes(layer)]
    return [node for node in nodes if node.views > 0] if layer == "object" else nodes
