"""Frames come in order; unreadable ones are counted, and too many end the run."""

from pathlib import Path

import numpy as np
import pytest

from m2h import Predictions
from mapping.camera import Intrinsics
from pipelines.frame import Frame, FrameInfo, SequenceError, check_indices
from pipelines.loading import CachedSequence, chosen_positions, read_frames
from pipelines.settings import FramesConfig

CAMERA = Intrinsics(10, 10, 1, 1, 3, 2)


class FakeSequence:
    """Ten frames; those in `broken` cannot be decoded, those in `lost` have no pose."""

    name, path, format = "fake", Path("fake"), "fake"
    world_up = label_space = None
    is_metric = True

    def __init__(self, broken=(), lost=()):
        self.broken, self.read = broken, []
        self.infos = tuple(
            FrameInfo(i, i / 10, f"{i}.png", i not in lost, "lost pose" if i in lost else "", np.eye(4), CAMERA)
            for i in range(10)
        )

    def __len__(self):
        return len(self.infos)

    def __getitem__(self, index):
        self.read.append(index)
        if index in self.broken:
            raise SequenceError(f"{index}.png: is truncated")
        return Frame(index, index / 10, np.zeros((2, 3, 3), np.uint8), CAMERA, np.eye(4), Predictions())


def test_range_and_stride_choose_among_the_usable():
    sequence = FakeSequence(lost=(3, 4))
    assert chosen_positions(sequence, FramesConfig()) == [0, 1, 2, 5, 6, 7, 8, 9]
    assert chosen_positions(sequence, FramesConfig(start=2, stop=8, stride=2)) == [2, 6]
    with pytest.raises(SequenceError, match=r"no usable frame among 10 \(frames.start=3 frames.stop=5\)"):
        chosen_positions(sequence, FramesConfig(start=3, stop=5))


def test_frames_come_in_order_and_broken_ones_are_noted():
    broken = {}
    frames = list(read_frames(FakeSequence(broken=(4,)), range(10), broken, max_broken=1))
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert broken == {4: "4.png: is truncated"}


def test_too_many_broken_frames_end_it_with_the_first_reason():
    with pytest.raises(
        SequenceError, match=r"2 frames cannot be read, more than the 1 .*the first: 1\.png: is truncated"
    ):
        list(read_frames(FakeSequence(broken=(1, 2, 8)), range(10), {}, max_broken=1))


def test_a_reader_may_stop_early():
    frames = read_frames(FakeSequence(), range(10), {}, max_broken=0)
    assert next(frames).index == 0
    frames.close()


def test_a_cached_sequence_decodes_a_frame_once_while_memory_lasts():
    sequence = FakeSequence(broken=(3,))
    cached = CachedSequence(sequence, max_bytes=2 * CAMERA.width * CAMERA.height * 3)
    assert [cached[i].index for i in (5, 0, 5, 8, 0)] == [5, 0, 5, 8, 0]
    for _ in range(2):
        with pytest.raises(SequenceError, match=r"3\.png"):
            cached[3]
    assert cached._own.read == [5, 0, 8, 0, 3, 3]
    assert sequence.read == []  # of which a stream may be read at the same time


def test_the_index_of_an_image_is_its_place():
    sequence = FakeSequence()
    check_indices(sequence)
    sequence.infos = (*sequence.infos[:2], *sequence.infos[3:])
    with pytest.raises(SequenceError, match=r"3\.png: has the index 3 at place 2"):
        check_indices(sequence)
