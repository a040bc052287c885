"""The depth head of a network that matches neighbouring frames: from planes to depth, with the scale of its error."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from m2h.config import M2HConfig
from m2h.model.blocks import resize as resize_map
from m2h.model.cascade import WEIGHTS, FineMatching, Matched, doubled, spread_of
from m2h.model.heads import DenseHead, Resize
from m2h.model.hints import GATE_WIDTH, HintGate, log_of, small_hint
from m2h.model.plane_filter import moments, plane_depths
from m2h.model.strips import by_strips

ROUNDS = 2
"""Times that depth is placed in the fine volume, each about the answer before."""
CONTEXT_WEIGHT = 0.25
"""Weight of what the image alone says of a pixel that neighbours see; in training a batch has weights from 0 to 1. Rooms unlike
those trained on change what an image seems to say far more than how well it matches."""
INITIAL_HINT_WEIGHT = 4.0
"""Logit that a hint of full confidence adds to its plane at first."""


class PlaneEvidence(NamedTuple):
    """What is known of a pixel's depth before the decoder speaks: at a quarter of the image's size the logits of the planes
    [B, D, h, w], the share of the planes that neighbours see [B, 1, h, w] and what a hint says of the planes [B, D, h, w]; what
    the fine volume compares, where there are neighbours; and hints [B, 2, ...] of canonical depth (0 unknown) and confidence as
    given, for the padded image and for the image itself."""

    planes: Tensor
    seen: Tensor
    hinted: Tensor
    matched: Matched | None = None
    padded_hint: Tensor | None = None
    image_hint: Tensor | None = None


class PlaneDepthHead(DenseHead):
    """Depth as the mean of log depth over the planes of the cost volume, placed among the depths of the fine volume, doubled in
    size and corrected, with the scale of its error.

    Volume and hint enter the logits of the planes directly, so that they count from the first step on; where they say nothing the
    decoder's features decide alone. Behind the planes the hint enters once more, to the pixel: see `HintGate`.
    """

    log_depths: Tensor

    def __init__(self, config: M2HConfig) -> None:
        super().__init__(config, 2 + GATE_WIDTH + WEIGHTS, kernel=3)
        self.gate = HintGate(GATE_WIDTH)
        self.cascade = FineMatching(config.channels)
        assert config.cross_view is not None
        cross = config.cross_view
        self.register_buffer("log_depths", torch.log(plane_depths(cross)).view(1, -1, 1, 1), persistent=False)
        self.planes = nn.Conv2d(config.channels, cross.planes, 1)
        # A logarithm, since it has to be learnt over orders of magnitude.
        self.log_hint_weight = nn.Parameter(torch.tensor(math.log(INITIAL_HINT_WEIGHT)))

    def forward(self, x: Tensor, resize: Resize, half: Tensor, evidence: PlaneEvidence) -> dict[str, Tensor]:
        """[B, C, h, w], the map [B, C', 2h, 2w] to add and what is known of the planes at [h, w] to `depth` in canonical metres
        and `depth_error`, both [B, 1, ...] of the resized size; in training also `depth_planes` [B, 2, D, h, w], the logits of
        the planes and what the volume alone says of them, and `depth_plane_logs` [1, D, 1, 1], and with neighbours the same of
        the fine volume: `depth_fine` [B, 1, DEPTHS, h, w] and `depth_fine_logs` [B, DEPTHS, h, w]."""
        context = self.context(x)
        logits = (
            self._context_logits(context, evidence.seen)
            + evidence.planes
            + torch.exp(self.log_hint_weight) * evidence.hinted
        )
        first = moments(logits, self.log_depths)
        coarse = first.mean
        outputs: dict[str, Tensor] = {}
        worse = torch.zeros_like(coarse)
        if evidence.matched is not None:
            hint, spread = small_hint(evidence.padded_hint, coarse), spread_of(first)
            for _ in range(ROUNDS):
                found = self.cascade(evidence.matched, coarse, context, hint, spread)
                coarse, worse = coarse + found.shift, found.worse
            outputs = {"depth_fine": found.logits.unsqueeze(1), "depth_fine_logs": found.log_depths}

        def work(rows: Tensor) -> tuple[Tensor]:
            refined = self.refine(rows)
            return (self.out(refined * torch.sigmoid(self.spatial(refined))),)

        (fine,) = by_strips(self.features(context, half), work, halo=self.refine.reach + 2)
        parts = torch.split(fine, [1, 1, GATE_WIDTH, WEIGHTS], dim=1)
        moved, error = parts[:2]
        features, weights = parts[2:]
        log_depth, error = doubled(coarse, weights) + moved, error + resize_map(worse, error.shape[-2:])
        moved, worse, gate = self.gate(features, log_depth, small_hint(evidence.padded_hint, fine)).chunk(3, dim=1)
        maps = resize(torch.cat([log_depth + moved, error + worse, gate], dim=1))
        log_depth, error, gate = maps.chunk(3, dim=1)
        hinted = small_hint(evidence.image_hint, log_depth)[:, :1]
        blended = log_depth + torch.sigmoid(gate) * (log_of(hinted) - log_depth)
        depth = torch.exp(torch.where(hinted > 0, blended, log_depth))
        if self.training:
            outputs["depth_planes"] = torch.stack([logits, evidence.planes], dim=1)
            outputs["depth_plane_logs"] = self.log_depths
            return {"depth": depth, "depth_error": error} | outputs
        return {"depth": depth, "depth_error": error}

    def _context_logits(self, context: Tensor, seen: Tensor) -> Tensor:
        """What the image alone says of the planes: [B, D, h, w] from the head's context and the share of the planes that
        neighbours see."""
        weight = torch.full_like(seen, CONTEXT_WEIGHT)
        if self.training:
            places = torch.arange(len(seen), dtype=seen.dtype, device=seen.device) + 0.5
            weight = (places / len(seen)).view(-1, 1, 1, 1).expand_as(seen)
        return self.planes(context) * torch.where(seen > 0, weight, torch.ones_like(seen))
