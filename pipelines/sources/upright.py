"""Networks are shown upright images: they learnt from such, and a phone that is held on end stores what lies on its side.

The turns follow from the up direction where it is known, else from what the shipped network recognises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from pipelines.frame import Frame, FrameSequence, poses_of
from pipelines.loading import chosen_positions
from pipelines.posing.upright import Uncertainty, recognised_up, shipped_uncertainty
from pipelines.settings import PipelineConfig
from pipelines.sources.source import Hint, Source
from pipelines.turning import (
    TurnedSequence,
    turned_array,
    turned_frame,
    turned_predictions,
    turns_to_upright,
)
from pipelines.workspace import digest

VERSION = 1
"""Counts changes that turn other images, so that stored answers are reused only where they would be the same."""
Opener = Callable[[str, FrameSequence, PipelineConfig], Source]


def shown_upright(opener: Opener, argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """The source of a network that is shown the images of the sequence upright, and whose answers are turned back.

    `opener` opens it for a sequence of upright images; raises what it raises.
    """
    up = config.up or sequence.world_up
    as_stored = opener(argument, sequence, config)
    uncertainty = shipped_uncertainty()
    if up is None and uncertainty is None:
        return as_stored
    turns = None if up is None else turns_to_upright(poses_of(sequence), up)
    if turns is not None and not turns.any():
        return as_stored
    asked = _Upright(opener, argument, sequence, config, as_stored, turns, uncertainty)
    return replace(
        as_stored,
        predict=asked.predict,
        predict_hinted=None if as_stored.predict_hinted is None else asked.predict_hinted,
        depth_alone=None if as_stored.depth_alone is None else asked.depth_alone,
        pose_scale=lambda: asked.turned.pose_scale(),
        fingerprint=digest(as_stored.fingerprint, "upright", VERSION, None if turns is None else turns.tolist()),
        turns=lambda: asked.turns,
    )


@dataclass
class _Upright:
    """Asks the source of a sequence whose images were turned. Nothing is looked at before the first answer."""

    opener: Opener
    argument: str
    sequence: FrameSequence
    config: PipelineConfig
    as_stored: Source
    known_turns: NDArray[np.int64] | None
    uncertainty: Uncertainty | None

    @cached_property
    def turns(self) -> NDArray[np.int64]:
        """Quarter turns (N,) counter-clockwise by position in the sequence."""
        if self.known_turns is not None:
            return self.known_turns
        assert self.uncertainty is not None
        found = recognised_up(self.sequence, chosen_positions(self.sequence, self.config.frames), self.uncertainty)
        poses = poses_of(self.sequence)
        if found is None:
            return np.zeros(len(poses), dtype=np.int64)
        return turns_to_upright(poses, found)

    @cached_property
    def turned(self) -> Source:
        """The source of the turned sequence."""
        used = self.turns[[info.used for info in self.sequence.infos]]
        if not self.turns.any():
            return self.as_stored
        how = "by what is recognised in them" if self.known_turns is None else "by the up direction"
        self.as_stored.notes.append(
            f"{np.count_nonzero(used)} of {len(used)} images lie on their side or upside down {how}: "
            f"{self.as_stored.name} was shown them upright"
        )
        return self.opener(self.argument, TurnedSequence(self.sequence, self.turns), self.config)

    def predict(self, frame: Frame) -> Predictions:
        """The answer for the turned frame, turned back."""
        turns = self._turns_of(frame)
        return self._back(self.turned.predict(turned_frame(frame, turns)), turns)

    def predict_hinted(self, frame: Frame, hint: Hint) -> Predictions:
        """The same, with the hint turned as well."""
        turns, ask = self._turns_of(frame), self.turned.predict_hinted
        assert ask is not None
        shown = Hint(turned_array(hint.depth, turns), turned_array(hint.confidence, turns))
        return self._back(ask(turned_frame(frame, turns), shown), turns)

    def depth_alone(self, frame: Frame) -> NDArray[np.float32]:
        """Depth (H, W) in metres of the single turned image, turned back."""
        turns, ask = self._turns_of(frame), self.turned.depth_alone
        assert ask is not None
        return turned_array(ask(turned_frame(frame, turns)), -turns)

    def _turns_of(self, frame: Frame) -> int:
        return int(self.turns[frame.index])

    def _back(self, answer: Predictions, turns: int) -> Predictions:
        if self.turned is not self.as_stored:
            known = self.as_stored.notes
            known.extend(note for note in self.turned.notes if note not in known)
        return turned_predictions(answer, -turns)
