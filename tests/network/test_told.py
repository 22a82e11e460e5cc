"""What a network is told: no effect before training, order of atoms, files of before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from molexa_core.base.errors import WeightsError
from molexa_core.base.matter.ions import parse_ions
from molexa_core.network.batch import Batch
from molexa_core.network.conditions import (
    ATOM_COLUMNS,
    COLUMNS,
    NAMES,
    QUANTITIES,
    Told,
    told_together,
)
from molexa_core.network.config import NetworkSettings
from molexa_core.network.inference.answers import reconstruct_structures
from molexa_core.network.inference.told import sample
from molexa_core.network.network import Network
from molexa_core.network.weights import load_network, save_weights, told_copy
from tests.fakes.networks import small_settings


def _settings() -> NetworkSettings:
    return replace(small_settings("atoms"), told=True)


def _told(count: int, atoms: int, seed: int = 1) -> Told:
    """Everything told, at random."""
    draw = torch.Generator().manual_seed(seed)
    nothing = Told.nothing(count, atoms)
    return replace(
        nothing,
        kind=torch.randint(0, 6, (count,), generator=draw),
        values=torch.randn(nothing.values.shape, generator=draw),
        known=torch.rand(nothing.values.shape, generator=draw) < 0.7,
        widths=torch.rand(nothing.values.shape, generator=draw),
        choices=torch.randint(-1, 2, nothing.choices.shape, generator=draw),
        data=torch.randint(0, 3, (count,), generator=draw),
        count=torch.randint(1, 1000, (count,), generator=draw).float(),
        errors=torch.rand(count, atoms, generator=draw),
        photons=torch.randn(nothing.photons.shape, generator=draw),
    )


def _trained(seed: int = 3) -> Network:
    """A network in which what is told has an effect."""
    torch.manual_seed(seed)
    network = Network(_settings()).eval()
    told = network.dynamics.told
    assert told is not None
    for layer in (told.atoms, told.pairs, told.each[2]):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return network


def _plain(batch: Batch) -> Batch:
    assert batch.positions is not None
    return replace(
        batch,
        charges=batch.charges.float(),
        masses=batch.masses.float(),
        momenta=batch.momenta.float(),
        positions=batch.positions.float(),
    )


def test_inputs_have_their_size_and_unknown_is_zero(batch: Batch) -> None:
    plain = _plain(batch)
    common, each = Told.nothing(16, 5).inputs(plain.momenta)
    assert common.shape == (16, COLUMNS)
    assert each.shape == (16, 5, ATOM_COLUMNS)
    assert not common.any()
    assert not each.any()
    told = _told(16, 5)
    hidden = replace(told, known=torch.zeros_like(told.known))
    other = replace(hidden, values=hidden.values + 1.0, widths=hidden.widths + 1.0)
    torch.testing.assert_close(hidden.inputs(plain.momenta), other.inputs(plain.momenta))


def test_what_is_told_has_no_effect_before_training(batch: Batch) -> None:
    torch.manual_seed(1)
    before = Network(small_settings("atoms")).eval()
    after = told_copy(before, _settings())
    plain = _plain(batch)
    wanted = sample(before, plain, 2, seed=4)
    torch.testing.assert_close(sample(after, plain, 2, seed=4), wanted)
    torch.testing.assert_close(sample(after, replace(plain, told=_told(16, 5)), 2, seed=4), wanted)


def test_layers_of_other_sizes_are_refused() -> None:
    other = replace(_settings(), width=16)
    with pytest.raises(WeightsError, match="other sizes"):
        told_copy(Network(small_settings("atoms")), other)


def test_nothing_told_is_the_same_as_no_information(batch: Batch) -> None:
    network, plain = _trained(), _plain(batch)
    nothing = replace(plain, told=Told.nothing(16, 5))
    everything = replace(plain, told=_told(16, 5))
    torch.testing.assert_close(
        sample(network, nothing, 1, seed=2), sample(network, plain, 1, seed=2)
    )
    changed = sample(network, everything, 1, seed=2) - sample(network, plain, 1, seed=2)
    assert changed.abs().max() > 1e-3


def test_samples_follow_the_order_of_the_atoms(batch: Batch) -> None:
    network = _trained()
    plain = replace(_plain(batch).picked(_full(batch)), mask=None)
    plain = replace(plain, told=_told(len(plain), 5))
    turned = torch.tensor([3, 1, 4, 0, 2]).expand(len(plain), 5)
    wide = turned[..., None].expand(-1, -1, 3)
    assert plain.told is not None
    other = replace(
        plain,
        numbers=plain.numbers.gather(1, turned),
        charges=plain.charges.gather(1, turned),
        masses=plain.masses.gather(1, turned),
        momenta=plain.momenta.gather(1, wide),
        positions=None,
        told=plain.told.reordered(turned),
    )
    one = network.condition(plain).dynamics.atoms  # type: ignore[union-attr]
    two = network.condition(other).dynamics.atoms  # type: ignore[union-attr]
    wide = turned[..., None].expand(-1, -1, one.shape[2])
    torch.testing.assert_close(one.gather(1, wide), two, rtol=1e-4, atol=1e-4)


def _full(batch: Batch) -> torch.Tensor:
    assert batch.mask is not None
    return batch.mask.all(1).nonzero()[:, 0]


def test_samples_turn_with_the_momenta(batch: Batch) -> None:
    network = _trained()
    plain = replace(_plain(batch), told=_told(16, 5))
    # Two ions have no frame of their own.
    plain = plain.picked((plain.present.sum((1, 2)) > 2).nonzero()[:, 0])
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))
    turn = turn * torch.linalg.det(turn)
    other = replace(plain, momenta=plain.momenta @ turn.T)
    torch.testing.assert_close(
        sample(network, other, 2, seed=5),
        sample(network, plain, 2, seed=5) @ turn.T,
        rtol=1e-3,
        atol=2e-3,
    )


def test_weights_come_back_with_what_they_are_told(batch: Batch, tmp_path: Path) -> None:
    network = _trained()
    parts = {"data": {}, "training": {}, "metrics": {}}
    save_weights(tmp_path, "small", network.bfloat16().float(), **parts)
    again, card = load_network(str(tmp_path / "small.json"))
    assert card.network.told
    plain = replace(_plain(batch), told=_told(16, 5))
    torch.testing.assert_close(sample(again, plain, 1, seed=1), sample(network, plain, 1, seed=1))


def test_settings_of_before_are_not_told() -> None:
    values = small_settings("atoms").to_dict()
    del values["told"]
    assert not NetworkSettings.from_dict(values).told
    with pytest.raises(WeightsError, match="only the layout"):
        NetworkSettings.from_dict(small_settings("pairs").to_dict() | {"told": True})


def test_parts_are_put_together_and_taken_apart() -> None:
    one, two = _told(3, 4), _told(5, 4, seed=2)
    both = told_together([one, two])
    assert len(both) == 8
    torch.testing.assert_close(both.taken(slice(3, 8)).values, two.values)
    assert both.padded(6).errors.shape == (8, 6)
    torch.testing.assert_close(both.repeated(2).count[::2], both.count)


def test_coordinates_are_zero_at_typical_values() -> None:
    for one in QUANTITIES:
        assert one.coordinate(one.centre) == pytest.approx(0.0)
    assert len(set(NAMES)) == len(NAMES)


def test_answers_of_a_told_network_follow_the_input() -> None:
    """What is told of each atom goes with it into the order in which the network sees the atoms."""
    network = _trained()
    ions = parse_ions("H+,O2+,H+,C+")
    momenta = np.array([[0.0, 60, 5], [40.0, -30, 9], [-50.0, -10, 0], [10.0, -20, -14]])
    told = _told(1, 4)
    one = reconstruct_structures(network, ions, momenta, samples=2, seed=3, told=told)
    order = [2, 0, 3, 1]
    other = reconstruct_structures(
        network,
        tuple(ions[k] for k in order),
        momenta[order],
        samples=2,
        seed=3,
        told=told.reordered(torch.tensor([order])),
    )
    np.testing.assert_allclose(one.samples[:, order], other.samples, atol=1e-4)
    untold = reconstruct_structures(network, ions, momenta, samples=2, seed=3)
    assert np.abs(one.samples - untold.samples).max() > 1e-3
