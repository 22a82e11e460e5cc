"""Written-out derivatives of the network are those of differences."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from molexa_core.physics.surrogate.charge_network import (
    ChargeNetwork,
    Encoded,
    NetworkSize,
    Predicted,
    log_distances,
)
from molexa_core.physics.surrogate.slopes import Slopes, by_distances, by_settings

SIZE = NetworkSize(width=16, layers=2, heads=2, radial=6, pair=12, channels=5, hidden=14)
ELEMENTS = torch.tensor([[1, 3, 0, 0]])
CHARGES = torch.tensor([[2.0, 3.0, 1.0, 1.0]]).double()
SETTING = torch.tensor([[7.3, 26.0, 2.3, 1.0, 0.3, 1.0, 0.05, 0.1, 0.0]]).double()
STEP = 1e-5


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """Differences need double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def model() -> ChargeNetwork:
    torch.manual_seed(2)
    network = ChargeNetwork(SIZE).double()
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.1 * torch.randn_like(value))
        network.low += 5.0
        network.log_sigma -= torch.rand_like(network.log_sigma) + 26.0
    return network.eval()


def _predict(model: ChargeNetwork, setting: Tensor, distance: Tensor) -> Predicted:
    with torch.no_grad():
        one = model.encode(ELEMENTS, CHARGES, setting)
        many = [
            value.expand(len(distance), *value.shape[1:])
            for value in (one.atoms, one.pairs, one.start, one.window)
        ]
        found: Predicted = model(Encoded(*many), distance)
    return found


def _difference(plus: Predicted, minus: Predicted) -> Slopes:
    def middle(found: Predicted) -> Tensor:
        return found.middle * found.unit.unsqueeze(1)

    return Slopes(
        (plus.log_tau - minus.log_tau) / (2 * STEP),
        (middle(plus) - middle(minus)) / (2 * STEP),
        (plus.impulse - minus.impulse) / (2 * STEP),
    )


def _same(found: Slopes, column: int, expected: Slopes) -> None:
    for name in ("log_tau", "middle", "impulse"):
        ours, theirs = getattr(found, name)[..., column], getattr(expected, name)
        assert float((ours - theirs).abs().max()) < 1e-6 * float(theirs.abs().max() + 1e-3), name


def test_derivatives_by_distances(model: ChargeNetwork) -> None:
    distance = log_distances(3.0 * torch.randn(3, 4, 3))
    with torch.no_grad():
        one = model.encode(ELEMENTS, CHARGES, SETTING)
        encoded = Encoded(
            *(v.expand(3, *v.shape[1:]) for v in (one.atoms, one.pairs, one.start, one.window))
        )
    predicted, slopes = by_distances(model, encoded, distance)
    whole = _predict(model, SETTING, distance)
    assert torch.allclose(predicted.log_tau, whole.log_tau)
    assert torch.allclose(predicted.impulse, whole.impulse)
    for column, (i, j) in enumerate(torch.triu_indices(4, 4, 1).T.tolist()):
        change = torch.zeros(4, 4)
        change[i, j] = change[j, i] = STEP
        plus = _predict(model, SETTING, distance + change)
        _same(slopes, column, _difference(plus, _predict(model, SETTING, distance - change)))


def test_derivatives_by_settings(model: ChargeNetwork) -> None:
    distance = log_distances(3.0 * torch.randn(3, 4, 3))
    columns = (0, 1, 2, 4, 6, 7)
    which = torch.zeros(3, dtype=torch.long)
    slopes = by_settings(model, ELEMENTS, CHARGES, SETTING, which, distance, columns)
    for place, column in enumerate(columns):
        change = torch.zeros(1, 9)
        change[0, column] = STEP
        plus = _predict(model, SETTING + change, distance)
        _same(slopes, place, _difference(plus, _predict(model, SETTING - change, distance)))


def test_an_impulse_is_mutual_and_ends_with_the_distance(model: ChargeNetwork) -> None:
    near = _predict(model, SETTING, log_distances(3.0 * torch.randn(2, 4, 3)))
    assert torch.allclose(near.impulse, near.impulse.transpose(1, 2))
    far = _predict(model, SETTING, log_distances(3e4 * torch.randn(2, 4, 3)))
    assert float(far.impulse.abs().max()) < 1e-2 * float(near.impulse.abs().max())
