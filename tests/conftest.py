"""Fixtures that several test modules share."""

import json
import shutil
from pathlib import Path

import pytest
from box_room import write_box_room


@pytest.fixture(scope="session", autouse=True)
def small_pictures():
    """Views from above in the reports of this process are small: drawing them takes as long as mapping the tests' rooms does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.views.pictures.TOP_VIEW_PIXELS", 200)
        yield


@pytest.fixture(scope="session")
def box_room(tmp_path_factory) -> Path:
    """A canonical sequence of a furnished box of a room, thirty small frames; read-only for all tests."""
    folder = tmp_path_factory.mktemp("box_room") / "sequence"
    write_box_room(folder)
    return folder


@pytest.fixture(scope="session")
def images_only(box_room, tmp_path_factory) -> Path:
    """The images and poses of `box_room` and nothing else; read-only for all tests."""
    folder = tmp_path_factory.mktemp("images_only") / "sequence"
    shutil.copytree(box_room / "images", folder / "images")
    header = json.loads((box_room / "transforms.json").read_text())
    for frame in header["frames"]:
        for key in [key for key in frame if key.endswith("_file_path")]:
            del frame[key]
    (folder / "transforms.json").write_text(json.dumps(header))
    return folder


@pytest.fixture(scope="module")
def one_thread():
    """Small computations of torch during other tests gain nothing from more."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def box_run(box_room, tmp_path_factory) -> Path:
    """A finished run of `box_room`; read-only for all tests."""
    from pipelines.pipeline import run
    from pipelines.sequences.detect import open_sequence

    folder = tmp_path_factory.mktemp("box_run") / "run"
    run(open_sequence(box_room), folder)
    return folder
