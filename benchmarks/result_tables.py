"""The Markdown tables of each result, combined by write_tables.py."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from common import add_speed_ups
from markdown_tables import Column, Result, paragraphs, table

HELD_OUT = ("41", "42", "43")
"""Worlds that the settings for monocular depth were not chosen on."""


def fusion_rows(data: Result) -> list[Result]:
    """The systems at each voxel size, with their references."""
    for systems in data["results"].values():
        for key in ("fuse", "mesh"):
            add_speed_ups(systems, key)
    return [
        {"voxel": f"{100 * float(voxel):g} cm", "system": name, "runs": len(result.get("runs_ms", [0])), **result}
        for voxel, systems in data["results"].items()
        for name, result in systems.items()
    ]


def ratios(key: str) -> list[Column]:
    return [
        Column("times open3d, faster blocks", f"{key}_speed_up", ".2f"),
        Column("times open3d 16", f"{key}_speed_up_default", ".2f"),
        Column("times open3d legacy", f"{key}_speed_up_legacy", ".2f"),
    ]


def fusion_notes(data: Result, rows: Sequence[Result]) -> str:
    """The sequence, and missing comparisons."""
    row = next(row for row in rows if "fuse" in row)
    size = " of {}x{}".format(*row["image"]) if "image" in row else ""
    notes = [
        f"{row['frames']} frames{size} of {data['sequence']}. Runs per system: {row['runs']}; the median is reported."
    ]
    notes += dict.fromkeys(f"`{row['system']}`: {row['reason']}." for row in rows if "reason" in row)
    own = data["machine"].get("packages", {}).get("open3d")
    others = [row for row in rows if row.get("version", own) != own]
    notes += dict.fromkeys(f"`{row['system']}` ran in Open3D {row['version']}." for row in others)
    if not any(row["system"] == "open3d legacy" for row in rows):
        notes.append("`open3d legacy` is not in this result.")
    return " ".join(notes)


def fusion(data: Result) -> str:
    rows = fusion_rows(data)
    columns = [
        *(Column("voxels", "voxel"), Column("system", "system"), Column("threads", "threads", ".0f")),
        *(Column("median ms", "fuse.median_ms", ".2f"), Column("IQR ms", "fuse.iqr_ms", ".2f")),
        *(Column("mean ms", "fuse.mean_ms", ".2f"), *ratios("fuse"), Column("first frame s", "first_frame_s", ".2f")),
        Column("", "noisy"),
    ]
    return paragraphs(fusion_notes(data, rows), table(columns, rows))


def meshing(data: Result) -> str:
    rows = fusion_rows(data)
    columns = [
        *(Column("voxels", "voxel"), Column("system", "system")),
        *(Column("mesh, median ms", "mesh.median_ms", ".1f"), Column("IQR ms", "mesh.iqr_ms", ".1f"), *ratios("mesh")),
        *(Column("vertices", "vertices", ",.0f"), Column("observed voxels", "observed_voxels", ",.0f")),
        Column("bytes per observed voxel", "bytes_per_observed_voxel", ".1f"),
        *(Column("map MB", "volume_bytes", ".1f", 1e6), Column("peak RSS MB", "peak_rss_bytes", ".0f", 1e6)),
    ]
    return paragraphs(fusion_notes(data, rows), table(columns, rows))


def long_walk(data: Result) -> str:
    rows = [{**stretch, "span": "{} to {}".format(*stretch["frames"])} for stretch in data["stretches"]]
    rows.append({"span": "last over first", **data["last_over_first"]})
    columns = [
        Column("frames", "span"),
        *(
            Column(f"{kind} {what} ms", f"{kind}_{what}_ms", ".2f")
            for kind in ("processor", "wall")
            for what in ("median", "mean")
        ),
        Column("map MB", "volume_bytes", ".1f", 1e6),
    ]
    threads = data["threads"] or "one per core, at most four"
    return paragraphs(
        f"{data['frames']} frames, {data['frames_a_room']} per room; voxels of {100 * data['voxel']:g} cm; threads: {threads}.",
        table(columns, rows),
        f"At the end {data['bytes_per_observed_voxel']} bytes per occupied voxel ({data['observed_voxels']:,} of them); "
        f"peak RSS {data['peak_rss_bytes'] / 1e6:.0f} MB.",
    )


LOADING = "load the volume"
"""The command that prints how many bytes the volume takes."""


def large_run(data: Result) -> str:
    """Memory and time by command."""
    sizes = "{frames:,} frames, {rooms} rooms of {objects} objects each, a volume of {blocks:,} blocks".format(
        **data["settings"]
    )
    volume = [int(row["output"]) / 1e9 for row in data["commands"] if row["command"] == LOADING]
    sizes += "".join(f" that takes {size:.1f} GB once it is loaded" for size in volume) + "."
    columns = [Column("command", "command"), Column("peak GiB", "gib", ".2f"), Column("processor s", "cpu_s", ".1f")]
    return paragraphs(sizes, table(columns, data["commands"]))


def batch(data: Result) -> str:
    """What became of the sequences, the lines of the broken ones, and the maps in pieces."""
    ways = [
        {"way": title, "maps": data[key]["done"], "failed": len(data[key]["failed"]), "frames": data[key]["frames"]}
        for key, title in (("dask", "Dask, LocalCluster of 2"), ("shards", "2 shards"))
    ]
    counts = [
        Column("by", "way"),
        Column("maps", "maps", ".0f"),
        Column("failed", "failed", ".0f"),
        Column("frames", "frames", ".0f"),
    ]
    lines = [
        {"name": row["name"], "broken": data["broken"].get(row["name"], "-"), "line": row["line"]}
        for row in data["dask"]["failed"]
    ]
    shown = [Column("sequence", "name"), Column("broken by", "broken"), Column("line", "line")]
    pieces = [{**row, "same": "the same" if row["same_bytes"] else "different"} for row in data["pieces"]]
    cut = [*(Column(name, name, ".0f") for name in ("pieces", "workers", "kills")), Column("files", "same")]
    return paragraphs(
        f"{data['sequences']} sequences; both ways made {'the same' if data['same_files'] else 'different'} files.",
        table(counts, ways),
        table(shown, lines),
        table(cut, pieces),
    )


def monocular(data: Result) -> str:
    """Measures that every world has, and all of them on the worlds that have most."""
    worlds: dict[str, Result] = data["results"]
    most = max(len(cares) for cares in worlds.values())
    ablated = [seed for seed, cares in worlds.items() if len(cares) == most]
    main = [name for name in worlds[ablated[0]] if all(name in cares for cares in worlds.values())]
    parts = [[s for s in worlds if s not in HELD_OUT], [s for s in worlds if s in HELD_OUT]]
    rows = [care_row(worlds, seeds, name) for seeds in parts if seeds for name in main]
    every = [care_row(worlds, ablated, name) for name in worlds[ablated[0]]]
    columns = [
        *(Column("measures", "care"), Column("worlds", "worlds")),
        *(Column("F 5 cm", "f_5cm.mean", ".3f"), Column("least", "f_5cm.least", ".3f")),
        *(Column("F 10 cm", "f_10cm.mean", ".3f"), Column("double-wall rate", "double_wall_rate.mean", ".3f")),
        *(Column("most", "double_wall_rate.most", ".3f"), Column("depth error %", "depth_error.mean", ".1f", 0.01)),
    ]
    chosen = "{rooms} rooms, {frames} frames, voxels of {voxel} m.".format(**data["settings"])
    return paragraphs(
        f"{chosen} Means over worlds:", table(columns, rows), "Every measure on and off:", table(columns, every)
    )


def care_row(worlds: dict[str, Result], seeds: Sequence[str], name: str) -> Result:
    """Mean and extremes of a measure's scores over worlds."""
    row: Result = {"care": name, "worlds": ", ".join(sorted(seeds, key=int))}
    for score in ("f_5cm", "f_10cm", "double_wall_rate", "depth_error"):
        values = [worlds[seed][name][score] for seed in seeds]
        row[score] = {"mean": fmean(values), "least": min(values), "most": max(values)}
    return row


def multiview(data: Result) -> str:
    measured = {name: result for name, result in data.items() if name != "machine"}
    rows = [
        {"sequence": name, "depth": kind, "frames": result["frames"], **result[kind]}
        | ({"mesh": result["mesh"]} if kind == "proved" else {})
        for name, result in measured.items()
        for kind in ("sweep", "proved")
    ]
    columns = [
        *(Column("sequence", "sequence"), Column("frames", "frames", ".0f"), Column("depth", "depth")),
        *(Column("AbsRel", "abs_rel_all", ".3f"), Column("certain half", "abs_rel_certain_half", ".3f")),
        *(Column("delta 1", "delta_1_all", ".3f"), Column("certain half", "delta_1_certain_half", ".3f")),
        *(Column("share known", "known_share", ".2f"), Column("mesh F 5 cm", "mesh.f_5cm", ".3f")),
        Column("mesh F 10 cm", "mesh.f_10cm", ".3f"),
    ]
    speed = [
        *(Column("sequence", "sequence"), Column("frames per second", "frames_per_second", ".2f")),
        Column("processor s per frame", "processor_seconds_per_frame", ".2f"),
        *(Column("sweep alone, frames per second", "sweep_frames_per_second", ".2f"), Column("", "noisy")),
    ]
    notes = " ".join(f"{name}: {result['note']}" for name, result in measured.items() if "note" in result)
    fast = [{"sequence": name, **result} for name, result in measured.items()]
    return paragraphs(table(columns, rows), notes, table(speed, fast))


def quality(data: Result) -> str:
    columns = [
        *(Column("seed", "seed"), Column("rooms", "rooms", ".0f"), Column("frames", "frames", ".0f")),
        *(Column("mesh F 5 cm", "metrics.mesh.f_5cm", ".3f"), Column("F 10 cm", "metrics.mesh.f_10cm", ".3f")),
        Column("double-wall rate", "metrics.mesh.double_wall_rate", ".4f"),
        Column("label accuracy", "metrics.mesh.label_accuracy", ".3f"),
        *(Column(f"object F1, IoU 0.{n}", f"metrics.objects.f1_{n}", ".3f") for n in (25, 50)),
        *(Column("room F1", "metrics.rooms.f1", ".3f"), Column("room names", "metrics.rooms.label_accuracy", ".2f")),
        *(Column(f"track {name}", f"metrics.tracks.{name}", ".3f") for name in ("precision", "recall")),
        Column("ghosts", "metrics.tracks.ghost_share", ".3f"),
    ]
    means = ", ".join(f"{name} {value:.3f}" for name, value in data["means"].items())
    rows = sorted(data["results"], key=lambda result: (result["rooms"], result["seed"]))
    return paragraphs(table(columns, rows), f"Means: {means}.")


def network(data: Result) -> str:
    rows = [
        {
            "network": setting["network"],
            "variant": name,
            "clean": f"{result['clean_runs']} of {result['runs']}",
            **result,
        }
        for setting in data["results"]
        for name, result in setting["variants"].items()
    ]
    columns = [
        *(Column("network", "network"), Column("variant", "variant"), Column("parameters M", "parameters", ".1f", 1e6)),
        *(Column("median s", "median_s", ".2f"), Column("best s", "best_s", ".2f"), Column("clean runs", "clean")),
        *(Column("times the first", "speed_up", ".2f"), Column("peak MB", "peak_mb", ".0f")),
        *(Column("worst difference", "worst_difference", ".1e"), Column("rms difference", "rms_difference", ".1e")),
    ]
    sizes = dict.fromkeys(
        "{batch}x{height}x{width}, {threads} threads".format(**setting) for setting in data["results"]
    )
    variants = "\n".join(f"- `{name}`: {text}" for name, text in data["variants"].items())
    return paragraphs(f"Images: {'; '.join(sizes)}.", table(columns, rows), variants)


def synth(data: Result) -> str:
    settings = {name: value for name, value in data.items() if isinstance(value, dict) and "whole" in value}
    whole = [
        {"setting": name, "before": sum(value["before_first_frame_s"].values()), **value["whole"]}
        for name, value in settings.items()
    ]
    stages = [
        {"setting": name, "stage": stage.replace("_", " "), **figures}
        for name, value in settings.items()
        for stage, figures in value["stages"].items()
    ]
    columns = [
        *(Column("images", "setting"), Column("frames per second", "frames_per_second", ".1f")),
        *(Column("processor ms per frame", "processor_ms_per_frame", ".1f"), Column("cores busy", "cores_busy", ".2f")),
        *(Column("kB per frame", "kilobytes_per_frame", ".0f"), Column("s before the first frame", "before", ".1f")),
    ]
    single = [
        *(Column("images", "setting"), Column("stage of one frame", "stage")),
        *(Column("median ms", "median_ms", ".2f"), Column("IQR ms", "iqr_ms", ".2f")),
    ]
    return paragraphs(f"{data['rooms']} rooms, {data['frames']} frames.", table(columns, whole), table(single, stages))


def refine(data: Result) -> str:
    """Scores of each refinement by predictor and sequence, all aligned; then every method separately."""
    columns = [
        *(Column("prediction", "prediction"), Column("sequence", "sequence"), Column("spread", "none.spread", ".3f")),
        *(Column(f"AbsRel {variant}", f"{variant}.fused_abs_rel", ".3f") for variant in ("none", "auto")),
        Column("known, auto", "auto.known", ".2f"),
        *(
            Column(f"F {distance} {variant}", f"{variant}.f_{distance.replace(' ', '')}", ".3f")
            for distance in ("5 cm", "10 cm")
            for variant in ("none", "multiview", "auto", "images alone")
        ),
    ]
    rows = [
        {"prediction": prediction, "sequence": sequence, "images alone": variants.get("images alone, aligned")}
        | {variant: variants.get(f"{prediction}, {variant}, aligned") for variant in ("none", "multiview", "auto")}
        for prediction in ("shipped", "fair", "good")
        for sequence, variants in data["results"].items()
        if f"{prediction}, auto, aligned" in variants
    ]
    return paragraphs(table(columns, rows) if rows else "", refined_variants(data))


def refined_variants(data: Result) -> str:
    rows = [
        {"sequence": sequence, "variant": variant, **figures}
        for sequence, variants in data["results"].items()
        for variant, figures in variants.items()
        if isinstance(figures, dict) and "f_5cm" in figures
    ]
    columns = [
        *(Column("sequence", "sequence"), Column("depth, refinement, alignment", "variant")),
        *(Column("F 5 cm", "f_5cm", ".3f"), Column("F 10 cm", "f_10cm", ".3f")),
        *(Column("precision 5 cm", "precision_5cm", ".3f"), Column("recall 5 cm", "recall_5cm", ".3f")),
    ]
    return table(columns, rows)


def from_images(data: Result) -> str:
    """Depth on worlds and recordings, their maps, other tasks on worlds, labels on photographs, and the time of a prediction."""
    parts = [table(DEPTH_COLUMNS, _depth_rows(data))]
    maps = [{"name": key.removesuffix(" map"), **data[key]} for key in data if key.endswith(" map")]
    if maps:
        parts.append(table(MAP_COLUMNS, maps))
    if "worlds" in data:
        rows = [{"name": f"worlds, {part}", **scores} for part, scores in data["worlds"].items()]
        parts.append(table(TASK_COLUMNS, rows))
    labelled = {
        "world labels": "worlds",
        "world labels without detector": "worlds, without the detector",
        "photos": "photographs",
        "photos without detector": "photographs, without the detector",
    }
    rows = [{"name": name, **data[key]} for key, name in labelled.items() if key in data]
    if rows:
        parts.append(table(LABEL_COLUMNS, rows))
    if "speed" in data:
        median = data["speed"]["median_ms"]
        parts.append(f"A whole prediction of an image of 320x240 with eight neighbours: {median:.0f} ms (median).")
    return "\n\n".join(parts)


def upright(data: Result) -> str:
    """What the network says of images upright and on their side, and how often it tells which way is up."""
    shown = [{"images": name, **scores} for name, scores in data["shown"].items()]
    columns = [
        *(Column("images", "images"), Column("label accuracy", "accuracy", ".3f")),
        *(Column("mIoU, classes present", "miou_present", ".3f"), Column("named", "named_share", ".2f")),
        *(Column("depth AbsRel, neighbours", "depth_neighbours", ".3f"), Column("alone", "depth_alone", ".3f")),
    ]
    found = [{"recording": name, **counts} for name, counts in data["recognised"].items()]
    counts = [
        Column("recording", "recording"),
        *(Column(name.replace("_", " "), name, ".0f") for name in ("right", "left_alone", "wrong", "were_upright")),
    ]
    return "\n\n".join([table(columns, shown), table(counts, found)])


def visits(data: Result) -> str:
    """What was found over all worlds."""
    totals = data["totals"]
    rows = [
        {"what": section, "figure": name.replace("_", " "), "value": value}
        for section, figures in totals.items()
        for name, value in figures.items()
    ]
    columns = [Column("of", "what"), Column("figure", "figure"), Column("value", "value", ".3f")]
    return table(columns, rows)


def _depth_rows(data: Result) -> list[Result]:
    return [
        {"name": f"{name}, {part}", **scores}
        for name in ("worlds", "office", "kitchen")
        for part, scores in data.get(name, {}).items()
    ]


DEPTH_COLUMNS = [
    *(Column("depth", "name"), Column("AbsRel", "abs_rel", ".3f"), Column("delta 1", "delta_1", ".3f")),
    *(Column("within 5 %", "within_5", ".2f"), Column("within 10 %", "within_10", ".2f")),
    *(Column("AbsRel, confident", "abs_rel_confident", ".3f"), Column("calibration error", "calibration_error", ".3f")),
]
MAP_COLUMNS = [
    *(Column("map", "name"), Column("F 5 cm", "f_5cm", ".3f"), Column("F 10 cm", "f_10cm", ".3f")),
    *(Column("precision 5 cm", "precision_5cm", ".3f"), Column("recall 5 cm", "recall_5cm", ".3f")),
    *(Column("depth AbsRel", "depth abs_rel", ".3f"), Column("confident", "depth abs_rel_confident", ".3f")),
    *(Column("accuracy m", "accuracy_m", ".3f"), Column("completeness m", "completeness_m", ".3f")),
    *(Column("double walls", "double_wall_rate", ".3f"), Column("seconds per frame", "seconds_per_frame", ".2f")),
]
TASK_COLUMNS = [
    *(Column("other tasks", "name"), Column("mIoU, names of NYU40", "miou", ".3f")),
    Column("pixel accuracy", "pixel_accuracy", ".2f"),
    *(Column("normals, mean degrees", "normal_mean_deg", ".1f"), Column("edges odsF", "edge_ods_f", ".3f")),
]
LABEL_COLUMNS = [
    *(
        Column("labels", "name"),
        Column("accuracy", "accuracy", ".3f"),
        Column("mIoU, classes present", "miou_present", ".3f"),
    ),
    *(Column("named", "named_share", ".2f"), Column("accuracy where named", "named_accuracy", ".3f")),
    Column("calibration error", "calibration_error", ".3f"),
]
