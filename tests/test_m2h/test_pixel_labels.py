"""Which class is named: the likeliest one, that of its group, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from network_helpers import tiny_model
from nyu13 import NYU13_OF_NYU40, NYU40_BROADER

from m2h.pixel_labels import labels_by_maps, labels_of_pixels, most_likely
from m2h.record import CheckpointRecord
from scenegraph.labels import load_label_space


@pytest.mark.parametrize("classes", [7, 255, 300])
def test_the_most_likely_class_is_that_of_the_softmax(classes: int) -> None:
    logits = 5 * torch.randn(2, classes, 9, 11, generator=torch.Generator().manual_seed(classes))
    logits[0, 3] = logits[0, 5] = 100.0
    confidence, labels = most_likely(logits)
    expected, numbers = logits.softmax(dim=1).max(dim=1)
    torch.testing.assert_close(confidence, expected)
    assert torch.equal(labels[1].long(), numbers[1])
    assert (labels[0] == 3).all()


def logits_of(*pixels: dict[int, float]) -> torch.Tensor:
    """[1, 41, 1, N] of pixels that give each class its probability, and the others what is left."""
    shares = np.stack([np.full(41, (1 - sum(pixel.values())) / (41 - len(pixel))) for pixel in pixels])
    for row, pixel in zip(shares, pixels, strict=True):
        row[list(pixel)] = list(pixel.values())
    return torch.from_numpy(np.log(shares)).float().T.reshape(1, 41, 1, -1)


def test_competing_classes_of_one_group_are_named_by_what_they_have_in_common() -> None:
    table, desk, chair = 7, 14, 5
    cabinet, shelves, wall = 3, 15, 1
    person, clothes = 31, 21
    pixels = [
        {table: 0.2, desk: 0.35, chair: 0.4},  # more table or desk than chair
        {cabinet: 0.3, shelves: 0.3, wall: 0.2},  # furniture, but which?
        {shelves: 0.7, wall: 0.2},
        {wall: 0.4, chair: 0.4},
        {person: 0.45, clothes: 0.4},  # a person is no prop
    ]
    confidence, labels, _ = labels_of_pixels(logits_of(*pixels), NYU40_BROADER, 0.5)
    assert labels[0, 0].tolist() == [table, 39, 15, 0, 0]
    torch.testing.assert_close(confidence[0, 0, :3], torch.tensor([0.55, 0.6, 0.7]), atol=0.04, rtol=0)


@pytest.mark.parametrize("naming", [labels_of_pixels, labels_by_maps])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7])
def test_naming_agrees_with_a_loop_over_pixels(threshold: float, naming: Callable[..., Any]) -> None:
    logits = 2 * torch.randn(2, 41, 6, 7, generator=torch.Generator().manual_seed(3))
    confidence, labels, _ = naming(logits, NYU40_BROADER, threshold)
    broader = np.array(NYU40_BROADER)
    for b, y, x in np.ndindex(2, 6, 7):
        share = logits[b, :, y, x].softmax(dim=0).numpy()
        sums = np.bincount(broader, share, minlength=41)
        group = int(sums.argmax())
        label = int(np.where(broader == group, share, -1).argmax())
        sure, sure_of_group = share[label] >= threshold, sums[group] >= threshold
        assert labels[b, y, x] == (label if sure else group if sure_of_group else 0)
        assert float(confidence[b, y, x]) == pytest.approx(share[label] if sure else sums[group], abs=1e-5)


@pytest.mark.parametrize("naming", [labels_of_pixels, labels_by_maps])
def test_labels_are_sampled_with_the_probabilities_of_all_classes(naming: Callable[..., Any]) -> None:
    shares = {5: 0.4, 7: 0.3, 2: 0.2, 6: 0.08}
    logits = logits_of(shares).expand(2, 41, 60, 80)
    sampled = naming(logits, NYU40_BROADER, 0.5).sampled
    assert sampled.shape == (2, 60, 80)
    for half in (sampled[:, :30, :40], sampled[:, 30:, 40:]):
        found = np.bincount(half.numpy().ravel(), minlength=41) / half.numel()
        assert {label: found[label] for label in shares} == pytest.approx(shares, abs=0.01)
    certain = naming(logits_of({0: 1 - 1e-9}, {40: 1 - 1e-9}).expand(1, 41, 9, 2), None, 0.5).sampled
    assert (certain == torch.tensor([0, 40])).all()


@pytest.mark.parametrize("classes", [7, 300])
def test_without_groups_each_class_is_alone(classes: int) -> None:
    logits = 4 * torch.randn(2, classes, 9, 11, generator=torch.Generator().manual_seed(classes))
    confidence, labels, _ = labels_of_pixels(logits.to(memory_format=torch.channels_last), None, 0.5)
    expected, numbers = logits.softmax(dim=1).max(dim=1)
    torch.testing.assert_close(confidence, expected)
    assert torch.equal(labels, torch.where(expected >= 0.5, numbers, 0))


def test_what_stands_for_a_group_belongs_to_it() -> None:
    space = load_label_space("nyu40")
    for label, broad in enumerate(NYU40_BROADER):
        assert NYU40_BROADER[broad] == broad
        assert NYU13_OF_NYU40[broad] == NYU13_OF_NYU40[label]
    assert {space.name_of(broad) for broad in NYU40_BROADER if broad} >= {"otherfurniture", "otherprop", "table"}


def test_a_record_whose_groups_do_not_fit_its_classes_is_rejected() -> None:
    config = tiny_model().config
    for wrong in ((0, 1), (*range(config.classes - 1), config.classes)):
        with pytest.raises(ValueError, match=f"broader must have {config.classes} classes"):
            CheckpointRecord(config=config, broader=wrong)
