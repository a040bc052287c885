"""The compiled cost volume is the one that training makes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from m2h.model import Neighbours
from m2h.model.cross_view import matching_volume


@pytest.mark.parametrize("enlarged", [1, 2])
@pytest.mark.parametrize("shared", [True, False])
def test_compiled_volumes_are_those_of_training(enlarged: int, shared: bool) -> None:
    """Cameras turned, tilted, zoomed and moved, some of whose points lie behind or next to them; maps of two sizes."""
    random = torch.Generator().manual_seed(enlarged)
    features = F.normalize(torch.randn(2, 8, 20, 28, generator=random), dim=1)
    views = F.normalize(torch.randn(2, 5, 8, 20 * enlarged, 28 * enlarged, generator=random), dim=2)
    projections = torch.eye(3, 4).repeat(2, 5, 1, 1)
    turns = torch.tensor([[0.05, 0.05, 5.0], [0.05, 0.05, 5.0], [1e-3, 1e-3, 0.1]])
    projections[..., :3] += torch.randn(2, 5, 3, 3, generator=random) * turns
    projections[..., 3] = torch.randn(2, 5, 3, generator=random) * torch.tensor([40.0, 40.0, 0.8])
    valid = torch.tensor([[True] * 5, [True, False, True, True, False]])
    inverse = 1 / torch.linspace(0.4, 6, 9).view(1, -1, 1)
    if not shared:
        inverse = inverse * torch.exp(0.3 * torch.randn(2, 1, 20 * 28, generator=random))
    given = Neighbours(views, projections, valid)
    trained = matching_volume(features.requires_grad_(), given, inverse, 4)
    with torch.no_grad():
        compiled = matching_volume(features, given, inverse, 4)
    torch.testing.assert_close(compiled[1], trained[1].detach(), rtol=0, atol=1e-6)
    torch.testing.assert_close(compiled[0], trained[0].detach(), rtol=0, atol=1e-4)
    assert 0.2 < float(compiled[1].mean()) < 0.9
    assert float(compiled[0].abs().max()) > 0.3
