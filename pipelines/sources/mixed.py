"""Each output from a source of its own: `mixed:depth=SRC,semantics=SRC`."""

from __future__ import annotations

from dataclasses import replace

from m2h import Predictions
from pipelines.frame import Frame, FrameSequence
from pipelines.settings import PipelineConfig
from pipelines.sources.provenance_text import depth_sentence, labels_sentence
from pipelines.sources.source import Hint, Source, SourceError, open_source

PARTS = {
    "depth": ("depth", "confidence"),
    "semantics": ("labels", "label_confidence", "sampled_labels", "instances"),
    "normals": ("normals",),
    "edges": ("edges",),
}


def part_specs(argument: str) -> dict[str, str]:
    """The source of each output, of `depth=recorded,semantics=precomputed:DIR`; raises SourceError for other words."""
    specs: dict[str, str] = {}
    for assignment in filter(None, argument.split(",")):
        part, equals, spec = assignment.partition("=")
        if not equals or part not in PARTS:
            known = ", ".join(PARTS)
            raise SourceError(
                f"--source mixed:{argument}: expected PART=SOURCE, PART one of {known}; got {assignment!r}"
            )
        specs[part] = spec
    if "depth" not in specs:
        raise SourceError(f"--source mixed:{argument}: depth=SOURCE is missing")
    return specs


def open_mixed(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """Each output from its own source, as `part_specs`."""
    specs = part_specs(argument)
    sources = {spec: open_source(spec, sequence, config) for spec in dict.fromkeys(specs.values())}

    def predict(frame: Frame) -> Predictions:
        return joined({spec: source.predict(frame) for spec, source in sources.items()})

    def predict_hinted(frame: Frame, hint: Hint) -> Predictions:
        return joined(
            {
                spec: source.predict_hinted(frame, hint) if source.predict_hinted else source.predict(frame)
                for spec, source in sources.items()
            }
        )

    def joined(answers: dict[str, Predictions]) -> Predictions:
        chosen = {name: getattr(answers[spec], name) for part, spec in specs.items() for name in PARTS[part]}
        return Predictions(**chosen)

    fingerprint = "+".join(f"{part}={sources[spec].fingerprint}" for part, spec in specs.items())
    name = "mixed:" + ",".join(f"{part}={sources[spec].name}" for part, spec in specs.items())
    labels = sources[specs["semantics"]].label_space if "semantics" in specs else None
    costly = any(source.is_costly for source in sources.values())
    depth = sources[specs["depth"]]
    depth.notes.extend(note for source in sources.values() if source is not depth for note in source.notes)
    about_labels = labels_sentence(sources[specs["semantics"]]) if "semantics" in specs else ""
    return replace(
        depth,
        name=name,
        predict=predict,
        fingerprint=fingerprint,
        label_space=labels,
        is_costly=costly,
        predict_hinted=None if depth.predict_hinted is None else predict_hinted,
        files=tuple(path for source in sources.values() for path in source.files),
        predicts_labels="semantics" in specs and sources[specs["semantics"]].predicts_labels,
        about_depth=depth_sentence(depth),
        about_labels=about_labels,
        networks=tuple(dict.fromkeys(network for source in sources.values() for network in source.networks)),
    )
