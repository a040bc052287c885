"""The Markdown tables of what is found about the input: its check, poses of plain images, refined poses."""

from __future__ import annotations

from markdown_tables import Column, Result, paragraphs, table

CHECK_COLUMNS = [
    *(Column("worlds", "name"), Column("number", "worlds", ".0f"), Column("stopped", "stops", ".0f")),
    Column("warned", "warns", ".0f"),
]
RECORDING_COLUMNS = [Column("recording as it is", "name"), Column("said", "said")]
REFINED_POSES_COLUMNS = [
    *(Column("sequence", "sequence"), Column("poses", "poses")),
    *(Column("F 5 cm, given", "f_5cm_off", ".3f"), Column("refined", "f_5cm_auto", ".3f")),
    *(Column("F 10 cm, given", "f_10cm_off", ".3f"), Column("refined", "f_10cm_auto", ".3f")),
    *(Column("error px, given", "error_given", ".2f"), Column("refined", "error_refined", ".2f")),
    *(Column("focal px, given", "focal_given", ".0f"), Column("refined", "focal_refined", ".0f")),
    Column("seconds per frame", "seconds_per_frame", ".2f"),
]
POSE_COLUMNS = [
    *(Column("images", "name"), Column("given", "images", ".0f"), Column("picked", "picked", ".0f")),
    *(Column("posed", "posed", ".0f"), Column("share", "share", ".2f"), Column("path m", "path_m", ".1f")),
    *(Column("ATE cm", "ate_cm", ".1f"), Column("scale error %", "scale_error", "+.1f", 0.01)),
    *(Column("stated ± %", "scale_deviation", ".0f", 0.01), Column("focal error %", "focal_error", "+.1f", 0.01)),
    Column("minutes", "minutes", ".1f"),
]
POSED_MAP_COLUMNS = [
    Column("map", "name"),
    *(
        Column(f"F {distance} {title}", f"f_{distance.replace(' ', '')}_{key}", ".3f")
        for distance in ("5 cm", "10 cm")
        for title, key in (("found", "found"), ("found, true scale", "found_true_scale"), ("recorded poses", "given"))
    ),
]
SCALE_COLUMNS = [
    *(Column("true poses, unit not known", "name"), Column("found by", "evidence")),
    *(Column("scale error %", "scale_error", "+.1f", 0.01), Column("stated ± %", "scale_deviation", ".0f", 0.01)),
    Column("images differ by %", "frames_differ", ".0f", 0.01),
]


def poses(data: Result) -> str:
    """How many plain images get a pose, how far off poses and scale are, and the maps with them."""
    rows = [{"name": name, **figures} for name, figures in data["results"].items()]
    maps = [row for row in rows if "f_10cm_found" in row]
    scales = [{"name": name, **figures} for name, figures in data.get("scale", {}).items()]
    return paragraphs(
        table(POSE_COLUMNS, rows),
        table(POSED_MAP_COLUMNS, maps) if maps else "",
        table(SCALE_COLUMNS, scales) if scales else "",
    )


def checks(data: Result) -> str:
    """How often a run of a synthetic world would stop or warn, by what is wrong with it, and what is said of the recordings."""
    levels = data.get("noise", {})
    rows = [
        {"name": name, **counts} | {f"level {i}": found.get(name, {}) for i, found in enumerate(levels.values())}
        for name, counts in data["worlds"].items()
    ]
    noisy = [
        Column(f"{what}, poses off by {level}", f"level {i}.{key}", ".0f")
        for i, level in enumerate(levels)
        for what, key in (("number", "worlds"), ("stopped", "stops"), ("warned", "warns"))
    ]
    said = [
        {"name": name, "said": "; ".join([*found["stops"], *found["warns"]]) or "nothing"}
        for name, found in data["recordings"].items()
    ]
    return paragraphs(table([*CHECK_COLUMNS, *noisy], rows), table(RECORDING_COLUMNS, said) if said else "")


def refine_poses(data: Result) -> str:
    """Maps with poses as given and refined."""
    return table(REFINED_POSES_COLUMNS, data["rows"])
