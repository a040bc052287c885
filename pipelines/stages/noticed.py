"""A source of recorded depth and labels as the check of the input found them: exact, or with errors like those of a network."""

from __future__ import annotations

from dataclasses import replace

from mapping.depth.depth_config import DepthWeightConfig
from mapping.tsdf.tsdf_config import TSDFConfig
from pipelines.checks.disagreement import Disagreement
from pipelines.settings import PipelineConfig
from pipelines.sources.source import DepthOrigin, Source
from pipelines.stages.prepare import CHECK_FILE, DISAGREEMENT
from pipelines.workspace import Workspace, digest, read_record
from scenegraph.files import json_values as values

JUMP, EDGE_STRENGTH = 0.08, 0.9
"""`depth.jump` and `depth.edge_strength` for depth that is not exact: rims are soft."""
BEHIND_PER_METER = 0.05
"""`tsdf.behind_per_meter` for it: what is left after alignment still grows with the distance."""


def read_disagreement(workspace: Workspace) -> Disagreement:
    """What the check of the input noted; raises GraphFormatError that names the file and the field."""
    path = workspace.path(CHECK_FILE)
    where = f"{path}: {DISAGREEMENT}"
    noted = values.mapping(read_record(path).get(DISAGREEMENT) or {}, where)
    found = {
        name: None if noted.get(name) is None else values.at_least_zero(noted[name], f"{where}: {name}")
        for name in ("depth", "labels", "agreement")
    }
    return Disagreement(**found)


def as_noticed(source: Source, found: Disagreement, config: PipelineConfig) -> Source:
    """The source, its depth and labels taken as predicted where recorded frames disagree on them.

    `align.mode` off leaves depth as it is.
    """
    changed = source
    if found.of_depth and source.needs_depth and source.depth_from is DepthOrigin.SENSOR and config.align.mode != "off":
        about = f"Depth is that of the recording, which differs by {found.depth:.1%} between frames: it is aligned."
        changed = replace(changed, depth_from=DepthOrigin.NETWORK, about_depth=about)
    if found.of_labels and source.name == "recorded" and source.label_space is not None:
        about = f"Labels are those of the recording, in which frames disagree on {found.labels:.0%} of the surface."
        changed = replace(changed, predicts_labels=True, about_labels=about)
    if changed is source:
        return source
    return replace(changed, fingerprint=digest(source.fingerprint, "as a network's", found.of_depth, found.of_labels))


def suited_to(source: Source, config: PipelineConfig) -> PipelineConfig:
    """The settings, with what they leave to the source where recorded depth is taken as a network's."""
    if not (source.needs_depth and source.depth_from is DepthOrigin.NETWORK):
        return config
    usual, depth, tsdf = DepthWeightConfig(), config.depth, config.tsdf
    if depth.jump == usual.jump:
        depth = replace(depth, jump=JUMP)
    if depth.edge_strength == usual.edge_strength:
        depth = replace(depth, edge_strength=EDGE_STRENGTH)
    if tsdf.behind_per_meter == TSDFConfig().behind_per_meter:
        tsdf = replace(tsdf, behind_per_meter=BEHIND_PER_METER)
    return replace(config, depth=depth, tsdf=tsdf)
