"""The page on the ring opening of cyclobutene: geometries, choice of the channel, tables."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from molexa_core.base.charge_combinations import Outcomes
from molexa_core.base.errors import NoEventsError
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.known_explosion import Kind
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.io.xyz import read_xyz
from molexa_core.pipeline.reconstruction.told_samples import ToldEntry

ROOT = Path(__file__).resolve().parents[1]


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "cyclobutene_page", ROOT / "tools" / "write_cyclobutene_page.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cyclobutene_page"] = module
    spec.loader.exec_module(module)
    return module


TOOL = _tool()
FRAMES = read_xyz(TOOL.PATH)


def _outcomes(geometry: Geometry, combinations: dict[tuple[int, ...], int]) -> Outcomes:
    """Outcomes whose momenta are proportional to the positions."""
    count, n = len(combinations), len(geometry)
    x = geometry.positions - geometry.positions.mean(axis=0)
    return Outcomes(
        geometry=geometry,
        trajectories=1000,
        charges=np.array(list(combinations), dtype=np.int8),
        counts=np.array(list(combinations.values())),
        momenta=np.repeat(20.0 * x[None], count, axis=0),
        covariance=np.repeat(np.eye(3)[None, None] * 4.0, count * n, axis=0).reshape(
            count, n, 3, 3
        ),
        charge_states=np.zeros((n, 4), dtype=np.int64),
        release=np.ones(count),
        release_spread=None,
        spectra={},
        photons=1.0,
        occurred=count,
        neutral=0,
    )


def test_the_path_opens_the_ring_and_hydrogens_migrate() -> None:
    kinds = {frame.comment: TOOL.kind_of(frame) for frame in FRAMES}
    path = [kinds[f"path {n}"] for n in range(1, 9)]
    assert path[0] == "closed"
    assert path[-1] == "open"
    assert path == sorted(path)  # once open, it stays open
    assert {kinds[name] for name in kinds if name.startswith("migrated")} == {"migrated"}
    assert kinds["butadiene, s-trans"] == "open"
    for frame in FRAMES:
        assert sorted(frame.symbols) == ["C"] * 4 + ["H"] * 6
        x = frame.positions * BOHR_ANGSTROM
        apart = np.linalg.norm(x[:, None] - x[None], axis=2) + 9.0 * np.eye(10)
        assert apart.min() > 0.75
        assert apart.min(axis=1).max() < 1.7


def test_a_fingerprint_does_not_depend_on_order_and_place() -> None:
    random = np.random.default_rng(1)
    x, symbols = FRAMES[0].positions, FRAMES[0].symbols
    order = random.permutation(10)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    one = TOOL.fingerprint(symbols, x[None])
    other = TOOL.fingerprint([symbols[n] for n in order], (x[order] @ turn + 1.0)[None])
    assert one == pytest.approx(other)
    assert np.abs(one - TOOL.fingerprint(symbols, FRAMES[7].positions[None])).max() > 1.0


def test_the_channel_is_the_one_that_is_frequent_in_every_frame() -> None:
    ones, twos = (1,) * 10, (2,) + (1,) * 9
    neutral = (0,) + (1,) * 9
    first = _outcomes(FRAMES[0], {neutral: 900, ones: 50, twos: 10})
    other = _outcomes(FRAMES[1], {twos: 40, ones: 5})
    assert TOOL.combination([first, other]).tolist() == list(twos)
    with pytest.raises(NoEventsError, match="every frame"):
        TOOL.combination([first, _outcomes(FRAMES[1], {neutral: 10})])


def test_answers_are_judged_against_the_geometry_that_exploded() -> None:
    chosen = [
        next(frame for frame in FRAMES if frame.comment == name)
        for name in ("path 1", "path 8", "migrated 1")
    ]
    outcomes = [_outcomes(frame, {(1,) * 10: 50}) for frame in chosen]
    noise = (0.0, 0.05)
    every = TOOL.shots(chosen, outcomes, noise, seed=1)
    assert len(every) == 6
    for shot in every:
        assert np.abs(shot.entry.momenta.sum(axis=0)).max() < 1e-9
        assert shot.entry.errors is not None
        # Fifty events with a variance of 4 in each direction, and the noise.
        assert (shot.entry.errors >= np.sqrt(4.0 / 50) - 1e-9).all()
    random = np.random.default_rng(2)

    def draw(entries: Sequence[ToldEntry], told: Kind, count: int, seed: int) -> list[FloatArray]:
        del told, seed
        return [
            one.momenta / 20.0 + 0.02 * random.standard_normal((count, 10, 3)) for one in entries
        ]

    told = TOOL.told_of_pulse(Pulse(), ModelOptions())
    answers = TOOL.reconstruct(every, told, draw, seed=0)
    exact = [one for one in answers if one.shot.noise == 0.0]
    assert max(one.mae for one in exact) < 0.05
    assert [max(one.shares, key=lambda k: one.shares[k]) for one in exact] == [
        "closed",
        "open",
        "migrated",
    ]
    noisy = [one for one in answers if one.shot.noise > 0.0]
    assert np.mean([one.mae for one in noisy]) > 2.0 * np.mean([one.mae for one in exact])
    text = TOOL.tables(answers, noise)
    assert text.count("\n| path") == 4
    assert "closed / open / migrated 5 %" in text
    film = TOOL.movie(answers)
    assert len(film.frames) == 2
    page = TOOL.page(answers, Pulse(), "weights", every[0].entry.ions)
    assert "C+ C+ C+ C+ H+" in page
    assert "errors of 0 %, 5 % of" in page
