"""Reconstruct with what is known about the explosion: numbers, statements, warnings, channels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from molexa_cli.main import main
from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.forward_model import Pulse
from molexa_core.base.known_explosion import (
    BuildUpExplosion,
    ClassicalExplosion,
    Kind,
    LaserExplosion,
    XrayExplosion,
    simulated,
)
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.options.reconstruct_options import ReconstructOptions
from molexa_core.base.settings import Calibrated, Explosion, parse_settings
from molexa_core.base.tables import FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.geometry.measures import pair_distances
from molexa_core.io.results.channel_csv import write_channel_csv
from molexa_core.io.results.geometry_json import (
    ReconstructionRecord,
    read_geometry_json,
    write_geometry_json,
)
from molexa_core.io.xyz import write_xyz
from molexa_core.network.network import Network
from molexa_core.network.weights import ModelCard, default_weights, load_network
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.surrogate.surrogate_card import read_surrogate_card
from molexa_core.pipeline.chain.score import score
from molexa_core.pipeline.explosions.assumed import Assumed
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.explosions.simulate import simulate
from molexa_core.pipeline.explosions.simulate_mcmd import channel_table, simulate_mcmd
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.posterior import MeasuredChannel, Posterior, infer
from molexa_core.pipeline.reconstruction.channels import ChannelMomenta, best_order, in_order
from molexa_core.pipeline.reconstruction.from_posterior import (
    FEW,
    answer_of,
    doubts_of_calibration,
    doubts_of_charges,
    lengths_and_angles,
)
from molexa_core.pipeline.reconstruction.learned import learned_explosion, not_as_learned
from molexa_core.pipeline.reconstruction.reconstruct import reconstruct
from molexa_core.pipeline.reconstruction.task import stated_explosion
from molexa_core.pipeline.runs.inspect import inspect_file
from tests.fakes.cards import card_of_one_pulse

MOMENTA = ["px", "py", "pz"]


@pytest.fixture(scope="module")
def loaded() -> tuple[Network, ModelCard]:
    return load_network(default_weights())


def exploded(name: str, ions: str, tau_fs: float = 45.0, *, told: bool = False) -> pd.DataFrame:
    """Momenta of a molecule; without a word on its explosion unless `told`."""
    table = simulate(molecule(name).geometry, ions.split(","), tau_fs=tau_fs).table
    if not told:
        table.attrs.clear()
    return table


def distances(name: str) -> FloatArray:
    return np.asarray(pair_distances(molecule(name).geometry.positions[None])[0])


def pulls(record: ReconstructionRecord, name: str) -> FloatArray:
    """Errors of the distances over their half-widths."""
    medians = np.array([one["median"] for one in record.distances])
    widths = np.array([one["half_width"] for one in record.distances])
    return np.asarray((medians - distances(name)) / widths)


def width(record: ReconstructionRecord) -> float:
    return float(np.mean([one["half_width"] for one in record.distances]))


def test_the_explosion_that_was_learned_keeps_the_error_bars_of_the_network(
    loaded: tuple[Network, ModelCard],
) -> None:
    record = reconstruct(
        exploded("water", "O+,H+,H+", told=True),
        options=ReconstructOptions(samples=4),
        network=loaded,
    )
    bars = record.uncertainty_bohr
    assert bars is not None
    assert record.model["calibration"] == "all"
    assert record.explosion["origin"] == "told"
    assert "45 fs" in record.explosion["statement"]
    assert record.explosion["p_value"] > 0.05
    assert record.explosion["degrees"] == 2  # the two bond lengths
    assert len(record.distances) == len(record.angles) == 3
    assert (np.abs(pulls(record, "water")) < 3.0).all()


@pytest.mark.parametrize(
    ("told", "agrees"),
    [
        (ClassicalExplosion(), True),
        (ClassicalExplosion(tau_fs=Uncertain(45)), True),
        (ClassicalExplosion(tau_fs=Uncertain(45.2, 0.5)), True),
        (ClassicalExplosion(tau_fs=Uncertain(45, 5)), False),
        (ClassicalExplosion(tau_fs=Uncertain(60)), False),
        (ClassicalExplosion(hydrogen_tau_fs=Uncertain(20)), False),
        (BuildUpExplosion(tau_fs=Uncertain(45)), False),
        (None, False),
    ],
)
def test_when_error_bars_of_the_default_weights_hold(
    loaded: tuple[Network, ModelCard], told: Kind | None, agrees: bool
) -> None:
    why = not_as_learned(loaded[1], told)
    assert (why is None) == agrees
    if why is not None:
        assert "calibrated for a simulated explosion" in why


def test_when_error_bars_of_the_weights_of_an_x_ray_pulse_hold() -> None:
    card = card_of_one_pulse()
    learned = learned_explosion(card)
    assert learned == simulated("mcmd")
    fluence = replace(learned, energy_mj=None, focus_um=None, transmission=None)  # type: ignore[arg-type, call-arg]
    same = replace(fluence, fluence_um2=learned.on_axis)  # type: ignore[union-attr, call-arg]
    assert not_as_learned(card, learned) is None
    assert not_as_learned(card, same) is None
    for change in (
        {"duration_fs": Uncertain(20)},
        {"duration_fs": Uncertain(15, 3)},
        {"duration_fs": None},
        {"transfer": "low"},
        {"recapture": True},
    ):
        other = replace(learned, **change)  # type: ignore[arg-type]
        assert not_as_learned(card, other) is not None
    assert not_as_learned(card, replace(same, fluence_um2=Uncertain(1e10))) is not None  # type: ignore[call-arg]


def test_another_build_up_is_inverted_as_it_was(loaded: tuple[Network, ModelCard]) -> None:
    """Carbon dioxide with 60 fs: what is told exactly gives it back, 45 fs would not."""
    table = exploded("co2", "O2+,C2+,O2+", 60.0)
    told = Explosion.of(ClassicalExplosion(tau_fs=Uncertain(60)))
    record = reconstruct(
        table, options=ReconstructOptions(samples=4), network=loaded, explosion=told
    )
    assert np.abs(pulls(record, "co2")).max() < 3.0
    assert width(record) < 0.05
    wrong = reconstruct(
        table,
        options=ReconstructOptions(samples=4),
        network=loaded,
        explosion=Explosion.of(simulated("classical")),
    )
    error = np.abs(pair_distances(wrong.positions_bohr[None])[0] - distances("co2"))
    assert error.mean() > 20 * width(record)
    assert record.explosion["p_value"] > 0.01
    assert "calibration" not in record.model


def test_an_uncertainty_of_the_explosion_is_one_of_the_structure(
    loaded: tuple[Network, ModelCard],
) -> None:
    table = exploded("co2", "O2+,C2+,O2+", 60.0)
    found = []
    for told in (
        BuildUpExplosion(tau_fs=Uncertain(60, 6)),
        BuildUpExplosion(tau_fs=Uncertain(60), tau_width=0.4),
        None,
    ):
        record = reconstruct(
            table,
            options=ReconstructOptions(samples=4),
            network=loaded,
            explosion=Explosion.of(told),
        )
        # Without a word on the explosion, the short bonds of this molecule are an unusual case.
        assert np.abs(pulls(record, "co2")).max() < (2.5 if told is not None else 4.0)
        assert record.uncertainty_bohr is not None
        found.append(width(record))
    assert found[0] < min(found[1:])
    assert record.explosion["origin"] == "unknown"
    assert "nothing is known about the explosion" in record.explosion["statement"]
    shares = [one["probability"] for one in record.explosion["hypotheses"]]
    assert sum(shares) == pytest.approx(1.0)


def test_the_answer_explains_its_momenta(loaded: tuple[Network, ModelCard]) -> None:
    """It is one of the structures drawn, not a mean of them."""
    table = exploded("water", "O2+,H+,H+")
    told = Explosion.of(BuildUpExplosion(tau_fs=Uncertain(45), tau_width=0.3))
    record = reconstruct(
        table, options=ReconstructOptions(samples=4), network=loaded, explosion=told
    )
    assert record.samples_bohr is not None
    own = pair_distances(record.positions_bohr[None])
    drawn = pair_distances(record.samples_bohr)
    assert np.abs(drawn - own).max(axis=1).min() < 0.15  # 500 of some thousand draws are kept
    np.testing.assert_allclose(record.positions_bohr.mean(axis=0), 0.0, atol=1e-9)
    assert record.closure["residual"] < 0.05


def test_a_sample_of_the_network_has_no_error_bars_for_another_explosion(
    loaded: tuple[Network, ModelCard],
) -> None:
    table = exploded("water", "O+,H+,H+")
    record = reconstruct(
        table, options=ReconstructOptions(samples=2), network=loaded, refined=False
    )
    assert record.uncertainty_bohr is None
    assert "what exploded here is not known" in str(record.uncertainty_reason)
    told = Explosion.of(LaserExplosion(duration_fs=Uncertain(30)))
    record = reconstruct(
        table, options=ReconstructOptions(samples=2), network=loaded, refined=False, explosion=told
    )
    assert "here it is: strong laser pulse: duration of the laser pulse 30 fs" in str(
        record.uncertainty_reason
    )


def test_a_second_channel_narrows_what_is_not_known(loaded: tuple[Network, ModelCard]) -> None:
    told = Explosion.of(BuildUpExplosion(tau_fs=Uncertain(60), tau_width=0.4))
    first = exploded("ocs", "O2+,C2+,S2+", 60.0)
    second = exploded("ocs", "O+,C2+,S3+", 60.0)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    second[MOMENTA] = second[MOMENTA].to_numpy() @ turn * np.linalg.det(turn)
    second = second.iloc[[2, 0, 1]].reset_index(drop=True)  # its own order and frame
    alone = reconstruct(
        first, options=ReconstructOptions(samples=4), network=loaded, explosion=told
    )
    both = reconstruct(
        [first, second], options=ReconstructOptions(samples=4), network=loaded, explosion=told
    )
    assert width(both) < width(alone)
    assert np.abs(pulls(both, "ocs")).max() < 2.5
    assert both.explosion["degrees"] > alone.explosion["degrees"]
    assert len(both.explosion["residuals_sigma"]) == 2
    assert both.input["further_channels"][0]["ions"] == ["S3+", "O+", "C2+"]


def test_momenta_that_do_not_fit_together_are_told(loaded: tuple[Network, ModelCard]) -> None:
    told = Explosion.of(BuildUpExplosion(tau_fs=Uncertain(60), tau_width=0.2))
    first = exploded("ocs", "O2+,C2+,S2+", 60.0)
    second = exploded("ocs", "O+,C2+,S3+", 60.0)
    second.loc[0, "px"] *= 0.9
    second.loc[2, "px"] *= 0.9
    record = reconstruct(
        [first, second], options=ReconstructOptions(samples=4), network=loaded, explosion=told
    )
    assert record.explosion["p_value"] < 0.01
    (warning,) = [text for text in record.warnings if "does not explain these momenta" in text]
    worst = record.explosion["worst"]
    assert worst["ion"] in warning
    assert worst["channel"] in warning
    assert abs(np.linalg.norm(worst["direction"]) - 1.0) < 1e-9


def test_channels_that_exclude_each_other_have_a_structure_without_error_bars(
    loaded: tuple[Network, ModelCard],
) -> None:
    told = Explosion.of(BuildUpExplosion(tau_fs=Uncertain(60), tau_width=0.05))
    first = exploded("ocs", "O2+,C2+,S2+", 60.0)
    second = exploded("ocs", "O+,C2+,S3+", 60.0)
    second[MOMENTA] *= 0.6
    record = reconstruct(
        [first, second], options=ReconstructOptions(samples=4), network=loaded, explosion=told
    )
    assert record.explosion["p_value"] < 1e-4
    assert record.uncertainty_bohr is None
    assert "does not explain the momenta (p-value" in str(record.uncertainty_reason)
    assert [one["half_width"] for one in record.distances] == [None] * 3
    assert sum("does not explain these momenta" in text for text in record.warnings) == 1
    assert "after" not in record.explosion["hypotheses"][0]["parameters"][0]


@pytest.mark.slow
def test_a_monte_carlo_explosion_told_exactly_gives_the_molecule(
    loaded: tuple[Network, ModelCard],
) -> None:
    pulse = Pulse(photon_ev=2000.0, duration_fs=10.0)
    outcomes = simulate_mcmd(molecule("water").geometry, pulse=pulse, trajectories=4000, seed=1)
    seen = [row for row in np.argsort(-outcomes.counts) if (outcomes.charges[row] > 0).all()]
    ions = [f"{name}{q}+" for name, q in zip("OHH", outcomes.charges[seen[0]], strict=True)]
    table = channel_table(outcomes, [ion.replace("1+", "+") for ion in ions])
    told = Explosion.of(simulated("mcmd", pulse=pulse))
    record = reconstruct(
        table, options=ReconstructOptions(samples=4), network=loaded, explosion=told
    )
    assert "computed with the surrogate of the Monte-Carlo model" in record.explosion["statement"]
    assert record.explosion["p_value"] > 0.01
    assert np.abs(pulls(record, "water")).max() < 2.5
    assert width(record) < 0.3


def test_the_weights_that_compute_an_x_ray_pulse_are_recorded() -> None:
    card, _ = read_surrogate_card()
    told = Explosion.of(XrayExplosion(photon_ev=Uncertain(2000)))
    stated = stated_explosion(Assumed(told, "the setup"), knowledge_of(told))
    assert stated["weights"] == [{"name": card.name, "sha256": card.sha256}]
    laser = Explosion.of(LaserExplosion(duration_fs=Uncertain(30)))
    assert "weights" not in stated_explosion(Assumed(laser, "the setup"), knowledge_of(laser))


def test_channels_of_different_molecules_are_refused(loaded: tuple[Network, ModelCard]) -> None:
    with pytest.raises(UsageError, match="channel 2 are those of H2O, the ions of channel 1 those"):
        reconstruct(
            [exploded("co2", "O2+,C2+,O2+"), exploded("water", "O2+,H+,H+")],
            options=ReconstructOptions(samples=1),
            network=loaded,
        )
    with pytest.raises(UsageError, match="a sample of the network is of one channel"):
        reconstruct(
            [exploded("co2", "O2+,C2+,O2+"), exploded("co2", "O2+,C+,O2+")],
            options=ReconstructOptions(samples=1),
            network=loaded,
            refined=False,
        )


def channel_of(table: pd.DataFrame, name: str = "a.csv") -> ChannelMomenta:
    ions = tuple(parse_ion(text) for text in table["ion"])
    return ChannelMomenta(name, ions, table[MOMENTA].to_numpy(float), None)


def test_like_atoms_of_a_second_channel_are_assigned_by_the_best_fit() -> None:
    geometry = molecule("formaldehyde").geometry
    hypothesis = knowledge_of(Explosion.of(simulated("classical"))).hypotheses[0]
    names = [f"{symbol}2+" if symbol != "H" else "H+" for symbol in geometry.symbols]
    table = simulate(geometry, names).table
    swapped = table.copy()
    hydrogens = [row for row, symbol in enumerate(geometry.symbols) if symbol == "H"]
    swapped.loc[hydrogens, MOMENTA] = table.loc[hydrogens[::-1], MOMENTA].to_numpy()
    other = channel_of(swapped)
    # A bent molecule tells its hydrogens apart once one of them is moved.
    positions = geometry.positions.copy()
    positions[hydrogens[0]] *= 1.3
    moved = simulate(replace(geometry, positions=positions), names).table
    moved_swapped = moved.copy()
    moved_swapped.loc[hydrogens, MOMENTA] = moved.loc[hydrogens[::-1], MOMENTA].to_numpy()
    order, misfit = best_order(
        positions, hypothesis.family, hypothesis.belief.mean, channel_of(moved_swapped)
    )
    expected = list(range(len(names)))
    expected[hydrogens[0]], expected[hydrogens[1]] = hydrogens[1], hydrogens[0]
    assert list(order) == expected
    assert misfit < 1e-4
    kept, misfit = best_order(geometry.positions, hypothesis.family, hypothesis.belief.mean, other)
    assert misfit < 1e-4  # both fit: a turn by half swaps them, and the given order stays
    assert list(kept) == list(range(len(names)))
    first = channel_of(table)
    mixed = first.ordered([1, 0, *range(2, len(names))])
    assert in_order(first, mixed).symbols == first.symbols


def test_singly_charged_ions_of_low_energy_are_no_coulomb_explosion() -> None:
    told = knowledge_of(Explosion.of(BuildUpExplosion(tau_fs=Uncertain(20), tau_width=0.3)))
    table = exploded("water", "O+,H+,H+", 20.0)
    assert doubts_of_charges(channel_of(table), told) == []
    weak = table.copy()
    weak[MOMENTA] *= 0.45
    (warning,) = doubts_of_charges(channel_of(weak), told)
    assert warning.startswith("a.csv is not a Coulomb explosion: all charges are 1+")
    higher = exploded("water", "O2+,H+,H+", 20.0)
    higher[MOMENTA] *= 0.45
    assert doubts_of_charges(channel_of(higher), told) == []


def test_references_that_contradict_their_calibration_are_told() -> None:
    hypothesis = {
        "family": "ion",
        "parameters": ["recoil_au", "screening"],
        "points": [{"mean": [0.0, 0.0]}],
        "covariance": [[0.1, 0.0], [0.0, 0.1]],
    }
    values: dict[str, Any] = {
        "hypotheses": [hypothesis],
        "references": [{"file": "n2.csv", "molecule": "N2"}],
    }
    for p_value, told in ((0.5, False), (None, False), (0.002, True)):
        found = parse_settings(Calibrated, values | {"p_value": p_value}, where="here")
        warnings = doubts_of_calibration(found)
        assert bool(warnings) == told
        assert not told or "p-value 0.002" in warnings[0]
    assert doubts_of_calibration(None) == []


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    table = exploded("co2", "O2+,C2+,O2+", 60.0)
    channel = channel_of(table)
    told = knowledge_of(Explosion.of(BuildUpExplosion(tau_fs=Uncertain(60), tau_width=0.2)))
    prior = GeometryPrior.of(channel.symbols)
    return infer([channel.measured()], told, geometry=prior, draws=200)


def test_few_draws_that_count_give_no_error_bars(posterior: Posterior) -> None:
    symbols = ("O", "C", "O")
    good = answer_of(posterior, symbols, seed=0)
    assert good.uncertainty is not None
    assert good.reason is None
    weights = np.full(len(posterior.weights), 1e-6)
    weights[:3] = 1.0
    weights /= weights.sum()
    few = replace(posterior, weights=weights, effective_samples=float(1.0 / (weights**2).sum()))
    assert few.effective_samples < FEW
    bad = answer_of(few, symbols, seed=0)
    assert bad.uncertainty is None
    assert "only 3 of the structures drawn count" in str(bad.reason)
    rows, angles = lengths_and_angles(few, [parse_ion(text) for text in ("O2+", "C2+", "O2+")])
    assert all(one["half_width"] is None for one in (*rows, *angles))


def test_half_widths_are_those_of_the_draws(posterior: Posterior) -> None:
    rows, angles = lengths_and_angles(
        posterior, [parse_ion(text) for text in ("O2+", "C2+", "O2+")]
    )
    assert [one["of"] for one in rows] == ["O2+-C2+", "O2+-O2+#2", "C2+-O2+#2"]
    assert angles[1]["of"] == "O2+-C2+-O2+#2"
    drawn = pair_distances(posterior.positions)
    for column, one in enumerate(rows):
        inside = (drawn[:, column] >= one["low"]) & (drawn[:, column] <= one["high"])
        assert float(posterior.weights[inside].sum()) == pytest.approx(0.68, abs=0.03)


def test_a_measured_error_is_not_below_a_thousandth() -> None:
    channel = channel_of(exploded("co2", "O2+,C2+,O2+"))
    assert isinstance(channel.measured(), MeasuredChannel)
    rms = np.sqrt((channel.momenta**2).mean())
    np.testing.assert_allclose(np.diag(channel.measured().covariance), (1e-3 * rms) ** 2)
    assert Fragments.of(channel.ions).symbols == ("O", "C", "O")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["reconstruct", *words]) == 0
    return capsys.readouterr().out


def test_the_command_states_what_it_assumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_channel_csv("a.csv", exploded("co2", "O2+,C2+,O2+", 60.0))
    write_channel_csv("b.csv", exploded("co2", "O3+,C2+,O+", 60.0))
    block: dict[str, Any] = {"build_up": {"tau_fs": "60 +- 12"}}
    Path("s.yaml").write_text(yaml.safe_dump({"explosion": block}), encoding="utf-8")
    said = run(capsys, "a.csv", "--samples", "2")
    assert "assumed explosion (unknown, nothing says what the explosion was)" in said
    said = run(capsys, "a.csv", "--samples", "2", "--setup", "s.yaml", "--force")
    assert "assumed explosion (told, s.yaml): charges that rise with time" in said
    assert "60 +- 12 fs" in said
    assert "expected of the geometry: bonds of about 0.6 to 2 times" in said
    assert "p-value" in said
    assert "nothing about the accuracy" in said
    options = ["--setup", "s.yaml", "--tau-fs", "70", "--tau-width", "0.1", "--force"]
    said = run(capsys, "a.csv", "b.csv", "--samples", "2", *options)
    assert "assumed explosion (told, options and s.yaml)" in said
    assert "70 fs, uncertain by 10 %" in said
    stored, provenance = read_geometry_json("geom.json")
    assert stored.explosion["told"] == {"build_up": {"tau_fs": 70.0, "tau_width": 0.1}}
    assert stored.input["files"] == ["a.csv", "b.csv"]
    assert provenance is not None
    assert provenance.settings["explosion"] == stored.explosion["told"]
    assert set(provenance.inputs) == {"a.csv", "b.csv"}
    assert main(["reconstruct", "a.csv", "--laser-fs", "30", "--tau-fs", "60"]) == 2
    assert "has no meaning for the explosion" in capsys.readouterr().err
    assert main(["reconstruct", "a.csv", "--tau-fs", "long"]) == 2
    assert "the window of the charge build-up: 'long' is not a number" in capsys.readouterr().err


def test_claims_are_scored_and_a_record_is_inspected(
    tmp_path: Path, loaded: tuple[Network, ModelCard]
) -> None:
    told = Explosion.of(BuildUpExplosion(tau_fs=Uncertain(60), tau_width=0.2))
    table = exploded("co2", "O2+,C2+,O2+", 60.0)
    record = reconstruct(
        table, options=ReconstructOptions(samples=2, search=0), network=loaded, explosion=told
    )
    write_geometry_json(tmp_path / "geom.json", record)
    write_xyz(tmp_path / "known.xyz", [molecule("co2").geometry])
    found = score(tmp_path / "geom.json", tmp_path / "known.xyz")
    np.testing.assert_allclose([one.pull for one in found.claims], pulls(record, "co2"), atol=1e-4)
    widths = np.array([one.half_width for one in found.claims])
    errors = widths * [one.pull for one in found.claims]
    assert found.ratio == pytest.approx(np.sqrt((errors**2).sum() / (widths**2).sum()))
    assert found.to_dict()["error_over_half_width"] == found.ratio
    seen = inspect_file(tmp_path / "geom.json")
    assert seen.format == "reconstruction"
    rows = {label: value for label, value, _ in seen.rows}
    assert rows["assumed explosion"] == record.explosion["statement"]
    assert rows["expected of the geometry"] == record.explosion["geometry_prior"]
    assert rows["p-value"] == record.explosion["p_value"]
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputFileError, match="format is not known"):
        inspect_file(tmp_path / "other.json")


def test_records_of_earlier_versions_are_read(
    tmp_path: Path, loaded: tuple[Network, ModelCard]
) -> None:
    record = reconstruct(
        exploded("water", "O+,H+,H+", told=True),
        options=ReconstructOptions(samples=2),
        network=loaded,
    )
    path = tmp_path / "geom.json"
    write_geometry_json(path, record)
    values = json.loads(path.read_text(encoding="utf-8"))
    for name in ("explosion", "distances", "angles", "checksum", "format"):
        values.pop(name, None)
    path.write_text(json.dumps(values), encoding="utf-8")
    stored, _ = read_geometry_json(path)
    assert stored.explosion == {}
    assert stored.distances == ()
    np.testing.assert_allclose(stored.positions_bohr, record.positions_bohr)
