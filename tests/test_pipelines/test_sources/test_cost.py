"""What a source costs is known before it is opened, as it then says itself."""

import sys

import numpy as np
import pytest

from m2h import Predictions
from pipelines.estimate import expected
from pipelines.pipeline import run
from pipelines.sequences.detect import open_sequence
from pipelines.settings import PipelineConfig
from pipelines.sources import cost, source
from pipelines.sources.cost import is_costly
from pipelines.sources.predictions import write_predictions
from pipelines.sources.source import SourceError, open_source

CONFIG = PipelineConfig()
CODE = """
from pipelines import DepthOrigin, Source

opened = []

def open_it(argument, sequence, config):
    opened.append(argument)
    return Source("it", lambda frame: frame.recorded, "1", None, DepthOrigin.SENSOR, is_costly=argument == "costly")
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A module of a user, which counts how often its source is opened."""
    (tmp_path / "code_with_a_cost.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "code_with_a_cost"
    sys.modules.pop("code_with_a_cost", None)


@pytest.fixture
def folder(tmp_path):
    """Stored answers of one frame."""
    write_predictions(tmp_path, 0, Predictions(depth=np.ones((120, 160), np.float32)))
    return tmp_path


def costs(spec, sequence):
    """Before it is opened, and as it says."""
    return is_costly(spec, sequence, CONFIG), open_source(spec, sequence, CONFIG).is_costly


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("auto", False),
        ("recorded", False),
        ("multiview", True),
        ("precomputed:{folder}", False),
        ("mixed:depth=recorded,semantics=precomputed:{folder}", False),
        ("mixed:depth=recorded,normals=multiview", True),
    ],
)
def test_it_is_what_the_source_says(box_room, folder, spec, expected):
    assert costs(spec.format(folder=folder), open_sequence(box_room)) == (expected, expected)


def test_stored_depth_of_unknown_scale_is_fitted(box_room, folder):
    (folder / "predictions.yaml").write_text("depth: relative\n")
    assert costs(f"precomputed:{folder}", open_sequence(box_room)) == (True, True)


def test_networks_are_known_without_being_opened(box_room, images_only, monkeypatch):
    monkeypatch.setattr(source, "resolve", lambda *_: pytest.fail("a source is opened"))
    alone = open_sequence(images_only)
    specs = ("auto", "m2h", "m2h:mine.safetensors", "hf:depth=a/b", "multiview", "mixed:depth=m2h,semantics=hf:x=y")
    assert all(is_costly(spec, alone, CONFIG) for spec in specs)
    assert is_costly("auto", open_sequence(box_room), CONFIG) is False
    assert is_costly("mine:open_it", alone, CONFIG) is None
    assert is_costly("mixed:depth=mine:open_it,normals=recorded", alone, CONFIG) is None
    assert is_costly("mixed:depth=mine:open_it,normals=m2h", alone, CONFIG) is True


def test_every_source_is_known_or_read():
    assert {*cost.IS_COSTLY, "auto", "precomputed", "mixed"} == set(source.SOURCES)


def test_a_wrong_argument_is_said_by_the_source(box_room):
    for spec in ("precomputed:nowhere", "mixed:normals=recorded"):
        with pytest.raises(SourceError, match=f"--source {spec}: "):
            is_costly(spec, open_sequence(box_room), CONFIG)


def test_a_source_that_is_known_is_opened_once_in_a_run(box_room, code, tmp_path, monkeypatch):
    module = __import__(code)
    monkeypatch.setitem(source.SOURCES, "multiview", f"{code}:open_it")
    run(open_sequence(box_room), tmp_path / "a", source="multiview", until="sequence")
    assert module.opened == [""]
    run(open_sequence(box_room), tmp_path / "b", source=f"{code}:open_it:costly", until="sequence")
    assert module.opened == ["", "costly", "costly"]  # that it is costly only opening it showed


def test_what_is_announced_reads_stored_answers_as_quickly_as_recorded_ones(box_room, folder):
    sequence = open_sequence(box_room)
    recorded, stored, own = (expected(sequence, spec, CONFIG) for spec in ("recorded", f"precomputed:{folder}", "m:f"))
    assert (stored.frames, stored.seconds) == (recorded.frames, recorded.seconds)
    assert own.seconds[1] > stored.seconds[1]
