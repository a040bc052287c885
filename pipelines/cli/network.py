"""Commands on networks: `train`, `test-model` and `weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mapping.packages import require_networks
from pipelines.cli.options import common_options, print_json, progress_reporter, say


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the run, new or to be continued."
)
@common_options
def train(config: Path, out: Path, overrides: tuple[str, ...], quiet: bool, as_json: bool, **_: Any) -> None:
    """Train the network that the YAML file CONFIG describes; a stopped run continues to the same result."""
    require_networks("m2h train")
    from m2h.train import Progress
    from m2h.train import train as run_training
    from m2h.train_config import train_config_from_mapping
    from pipelines.config import merge_overrides, read_yaml_mapping

    settings = train_config_from_mapping(merge_overrides(read_yaml_mapping(config), overrides), config)
    with progress_reporter(quiet=quiet) as progress:

        def report(at: Progress) -> None:
            progress("train", at.step, at.total)

        result = run_training(settings, out, base=config.parent, progress=report)
    if as_json:
        print_json({"last": str(result.last), "best": result.best and str(result.best), "scores": result.scores})
    elif not quiet:
        say(f"wrote {result.best or result.last}")
        _print_scores(result.scores)


@click.command("test-model")
@click.argument("model")
@click.argument("dataset")
@click.option("--limit", type=int, help="Only the first images.")
@click.option("--protocol", type=click.Choice(["field", "per-batch"]), default="field", show_default=True)
@common_options
def test_model(
    model: str, dataset: str, limit: int | None, protocol: Any, quiet: bool, as_json: bool, **_: Any
) -> None:
    """Measure the checkpoint MODEL (name or file) on DATASET (FORMAT:PATH[#SPLIT]) by the field's protocol."""
    require_networks("m2h test-model")
    from m2h.evaluate import evaluate_checkpoint

    with progress_reporter(quiet=quiet) as progress:
        scores = evaluate_checkpoint(
            model,
            dataset,
            limit=limit,
            protocol=protocol,
            progress=lambda done, total: progress("test", done, total),
        )
    if as_json:
        print_json(scores)
    else:
        _print_scores(scores)


def _print_scores(scores: Any) -> None:
    for name, value in scores.items():
        say(f"  {name:<20} {'-' if value is None else f'{value:.4f}'}")


@click.group()
def weights() -> None:
    """Named checkpoints with size, checksum, licence and label space."""


@weights.command("list")
@common_options
def list_weights(quiet: bool, as_json: bool, **_: Any) -> None:
    """Names that `m2h:NAME` accepts, and which are available locally."""
    from m2h.weights import REGISTRY, cached_path, known_names

    rows: list[dict[str, Any]] = []
    for name in known_names():
        entry = REGISTRY.get(name)
        here = entry is None or cached_path(entry) is not None
        rows.append(
            {"name": name, "here": here, "size": entry and entry.size, "licence": entry.record.licence if entry else ""}
        )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        size = f"{row['size'] / 1e6:.0f} MB" if row["size"] else ""
        say(f"{row['name']:<36} {'here' if row['here'] else 'not fetched':<12} {size:>8}  {row['licence']}")


@weights.command()
@click.argument("name")
@common_options
def fetch(name: str, quiet: bool, as_json: bool, **_: Any) -> None:
    """Download the published checkpoint NAME: resumed, checked, cached."""
    from m2h.weights import REGISTRY, WeightsError, fetch_weights

    if name not in REGISTRY:
        raise WeightsError(f"{name}: no published checkpoint; there are {', '.join(REGISTRY)}")
    with progress_reporter(quiet=quiet) as progress:
        path = fetch_weights(REGISTRY[name], progress=lambda done, total: progress("fetch", done, total))
    print_json({"name": name, "path": str(path)}) if as_json else say(str(path))


@weights.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@common_options
def import_file(path: Path, quiet: bool, as_json: bool, **_: Any) -> None:
    """Import the checkpoint file PATH into the cache, so that it can be used by name."""
    from m2h.weights import import_weights

    name, target = import_weights(path)
    print_json({"name": name, "path": str(target)}) if as_json else say(f"{name}: {target}")


@weights.command()
@click.argument("name")
@common_options
def info(name: str, quiet: bool, as_json: bool, **_: Any) -> None:
    """The metadata of the checkpoint NAME (or file)."""
    from m2h.weights import resolve_weights

    path, record = resolve_weights(name)
    facts = {"path": str(path), **dict(sorted(record.to_mapping().items()))}
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        say(f"{key:<16} {value}")
