"""Symmetries that the network must have whatever its weights are."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from molexa_core.network.batch import Batch
from molexa_core.network.config import MOLEXA, PAPER
from molexa_core.network.layouts.pair_layers import Memory, PairMerge, ResidualLayer
from molexa_core.network.network import Network


def _outputs(network: Network, batch: Batch, noise: torch.Tensor) -> list[torch.Tensor]:
    conditioning = network.condition(batch)
    sigma = torch.linspace(0.1, 3.0, len(batch), dtype=torch.float64)
    clean = network.denoise(noise, sigma, conditioning)
    return [clean, network.uncertainty_logits(clean, conditioning)]


def _noise(batch: Batch) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch.momenta.shape, generator=generator, dtype=torch.float64)


def test_exchanging_atoms_of_the_input_exchanges_the_output(
    network: Network, batch: Batch, tolerance: dict[str, float]
) -> None:
    noise = _noise(batch)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert batch.mask is not None
    moved = replace(
        batch,
        numbers=batch.numbers[:, order],
        charges=batch.charges[:, order],
        masses=batch.masses[:, order],
        momenta=batch.momenta[:, order],
        mask=batch.mask[:, order],
    )
    for one, two in zip(
        _outputs(network, batch, noise), _outputs(network, moved, noise[:, order]), strict=True
    ):
        present = batch.mask[:, order]
        torch.testing.assert_close(
            one[:, order][present], two[present], rtol=1e-4, atol=tolerance["float32"]
        )


def test_padding_changes_nothing(network: Network, batch: Batch) -> None:
    assert batch.mask is not None
    rows = batch.mask.sum(1) == 3
    assert rows.any()
    padded = Batch(
        batch.numbers[rows],
        batch.charges[rows],
        batch.masses[rows],
        batch.momenta[rows],
        batch.mask[rows],
    )
    bare = Batch(
        padded.numbers[:, :3], padded.charges[:, :3], padded.masses[:, :3], padded.momenta[:, :3]
    )
    noise = _noise(padded)
    for one, two in zip(
        _outputs(network, padded, noise), _outputs(network, bare, noise[:, :3]), strict=True
    ):
        torch.testing.assert_close(one[:, :3].double(), two.double(), rtol=1e-5, atol=1e-6)


def test_a_molecule_does_not_see_its_neighbours_in_the_batch(
    network: Network, batch: Batch
) -> None:
    noise = _noise(batch)
    together = _outputs(network, batch, noise)
    conditioning = network.condition(batch.first(1))
    clean = network.denoise(noise[:1], torch.tensor([0.1], dtype=torch.float64), conditioning)
    torch.testing.assert_close(together[0][:1], clean, rtol=1e-6, atol=1e-8)


def test_denoised_structures_are_centred_and_padding_stays_at_zero(
    network: Network, batch: Batch
) -> None:
    clean = _outputs(network, batch, _noise(batch))[0]
    assert batch.mask is not None
    assert clean.sum(1).abs().max() < 1e-10
    assert clean[~batch.mask].abs().max() == 0


def test_repeated_conditioning_equals_conditioning_of_repeated_molecules(
    network: Network, batch: Batch
) -> None:
    noise = _noise(batch).repeat_interleave(3, 0)
    sigma = torch.full((len(noise),), 0.5, dtype=torch.float64)
    shared = network.denoise(noise, sigma, network.condition(batch).repeat(3))
    alone = network.denoise(noise[1::3], sigma[1::3], network.condition(batch))
    torch.testing.assert_close(shared[1::3], alone, rtol=1e-9, atol=1e-12)


def test_ions_at_rest_give_finite_outputs_and_gradients(network: Network) -> None:
    """CO2: the carbon stays at rest and all momenta lie on one line."""
    momenta = torch.tensor([[[0.0, 0, 0], [300.0, 0, 0], [-300.0, 0, 0]]], dtype=torch.float64)
    batch = Batch(
        torch.tensor([[6, 8, 8]]),
        torch.ones(1, 3, dtype=torch.float64),
        torch.tensor([[21874.0, 29156.0, 29156.0]], dtype=torch.float64),
        momenta,
    )
    outputs = _outputs(network, batch, _noise(batch))
    assert all(torch.isfinite(out).all() for out in outputs)
    (outputs[0].square().sum() + outputs[1].square().sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_paper_preset_has_the_published_size() -> None:
    network = Network(PAPER.network)
    assert network.parameter_count == pytest.approx(27.7e6, rel=0.01)
    denoiser = sum(parameter.numel() for parameter in network.denoiser.parameters())
    uncertainty = sum(parameter.numel() for parameter in network.uncertainty.parameters())
    assert denoiser == pytest.approx(9.5e6, rel=0.02)
    assert uncertainty == pytest.approx(7.2e6, rel=0.02)


def test_shipped_preset_fits_in_32_mib_of_bf16() -> None:
    assert Network(MOLEXA.network).parameter_count * 2 < 32 * 2**20


def test_merging_pairs_equals_a_residual_layer_on_the_concatenation() -> None:
    torch.manual_seed(0)
    merge = PairMerge(5, 7, 11).double()
    plain = ResidualLayer(17, 11).double()
    plain.load_state_dict(merge.state_dict())
    atoms = torch.randn(2, 3, 5, dtype=torch.float64)
    pairs = torch.randn(2, 9, 7, dtype=torch.float64)
    first = atoms[:, :, None].expand(2, 3, 3, 5)
    second = atoms[:, None].expand(2, 3, 3, 5)
    concatenated = torch.cat((first, second, pairs.view(2, 3, 3, 7)), -1).view(2, 9, 17)
    torch.testing.assert_close(merge(atoms, merge.prepare(pairs)), plain(concatenated))


def test_memory_follows_its_equations() -> None:
    torch.manual_seed(0)
    memory = Memory(3).double()
    h, c = torch.randn(1, 2, 3).double(), torch.randn(1, 2, 3).double()
    w_t, w_u, w_f, w_o = memory.gates.weight.chunk(4)
    b_t, b_u, b_f, b_o = memory.gates.bias.chunk(4)
    sigmoid = torch.sigmoid
    wanted_c = sigmoid(h @ w_u.T + b_u) * torch.tanh(h @ w_t.T + b_t)
    wanted_c = wanted_c + sigmoid(h @ w_f.T + b_f) * c
    wanted_h = sigmoid(h @ w_o.T + b_o) * torch.tanh(wanted_c)
    new_h, new_c = memory(h, c)
    torch.testing.assert_close(new_c, wanted_c)
    torch.testing.assert_close(new_h, wanted_h)
