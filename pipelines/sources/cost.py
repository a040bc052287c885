"""Whether a source has to work for each frame, known before a network is opened."""

from __future__ import annotations

from pipelines.frame import FrameSequence, has_depth
from pipelines.settings import PipelineConfig
from pipelines.sources.mixed import part_specs
from pipelines.sources.source import open_source

IS_COSTLY = {"recorded": False, "m2h": True, "hf": True, "multiview": True}
"""`Source.is_costly` of sources by name; others depend on what they are given."""


def is_costly(spec: str, sequence: FrameSequence, config: PipelineConfig) -> bool | None:
    """What `Source.is_costly` of the source will be; None for code of others, where only opening it shows that.

    Raises SourceError for a source whose argument is wrong, where it has to be read.
    """
    name, _, argument = spec.partition(":")
    if name == "auto":
        return not has_depth(sequence)
    if name == "precomputed":  # depth of unknown scale is fitted to what images prove
        return open_source(spec, sequence, config).is_costly
    if name == "mixed":
        parts = [is_costly(part, sequence, config) for part in part_specs(argument).values()]
        return True if True in parts else None if None in parts else False
    return IS_COSTLY.get(name)
