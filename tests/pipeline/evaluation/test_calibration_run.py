"""Tests of samplers of structures on explosions of known geometry, from draws to files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.known_explosion import ClassicalExplosion
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Explosion
from molexa_core.base.tables import FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.pipeline.evaluation.calibration_measures import measure, verdict
from molexa_core.pipeline.evaluation.calibration_run import INVERSION, calibrate_posterior
from molexa_core.pipeline.evaluation.known_explosions import (
    KnownExplosions,
    prior_explosions,
    random_explosions,
)
from molexa_core.pipeline.evaluation.samplers import InversionSampler
from molexa_core.pipeline.explosions.knowledge import knowledge_of

TOLD = Explosion.of(ClassicalExplosion(Uncertain(45.0, 9.0)))
SCATTER = 0.1


def _known(count: int = 200, seed: int = 1) -> dict[int, KnownExplosions]:
    """Explosions whose positions scatter normally about what their momenta imply."""
    random = np.random.default_rng(seed)
    found = random_explosions(count, atoms=(2, 4), tau_fs=45.0, seed=seed)
    return {
        n: KnownExplosions(
            **{
                **vars(one),
                "positions": one.momenta / 100.0
                + SCATTER * random.standard_normal(one.positions.shape),
            }
        )
        for n, one in found.items()
    }


@dataclass(frozen=True)
class _Scattered:
    """Draws about what the momenta imply, with a width of its own."""

    width: float = SCATTER
    refused: int = 0
    name: str = "scattered"

    def draw(
        self, explosions: KnownExplosions, count: int, *, seed: int, progress: Progress = SILENT
    ) -> FloatArray:
        """See `Sampler`."""
        random = np.random.default_rng(seed)
        shape = (count, *explosions.momenta.shape)
        drawn = explosions.momenta / 100.0 + self.width * random.standard_normal(shape)
        drawn[:, : self.refused] = np.nan
        return drawn


def test_an_honest_sampler_passes_and_one_too_sure_does_not() -> None:
    known = _known(450)
    honest = measure(_Scattered(), known, samples=31, seed=0)
    assert honest.passed
    assert honest.groups["all"].cases == 450
    assert honest.groups["all"].molecules == 450
    for group in honest.groups.values():
        # 95 % intervals are four standard deviations wide.
        assert abs(group.ratio.mean - 1.0) < group.ratio.high - group.ratio.low
        assert abs(group.inside_68.mean - 0.6827) < group.inside_68.high - group.inside_68.low
    narrow = measure(_Scattered(0.5 * SCATTER), known, samples=31, seed=0)
    assert not narrow.passed
    assert narrow.groups["all"].ratio.mean == pytest.approx(2.0, abs=0.25)
    assert narrow.curves[0].deviation > 0.2
    failed = verdict({"honest": honest, "narrow": narrow})
    assert "SBC: mean distance" in failed["narrow"]
    assert any(text.startswith("coverage of each distance") for text in failed["narrow"])
    assert failed["honest"] == []


def test_cases_without_error_bars_are_counted_apart() -> None:
    found = measure(_Scattered(refused=3), _known(120), samples=15, seed=0)
    assert found.refused == 9
    assert found.cases == 111
    with pytest.raises(ComputationError, match="none of 120"):
        measure(_Scattered(refused=40), _known(120), samples=15, seed=0)


def test_explosions_of_the_prior_have_the_momenta_that_the_families_give() -> None:
    knowledge = knowledge_of(Explosion.of(ClassicalExplosion(Uncertain(45.0))))
    known = prior_explosions(12, knowledge, atoms=(2, 3), error=0.0, seed=3)
    assert sum(map(len, known.values())) == 12
    family, belief = knowledge.hypotheses[0].family, knowledge.hypotheses[0].belief
    for one in known.values():
        for row in range(len(one)):
            expected = family.explode(
                one.fragments(row), one.positions[row : row + 1], belief.mean[None]
            )
            assert one.momenta[row] == pytest.approx(expected[0], rel=1e-5, abs=1e-4)
            assert (one.charges[row][one.numbers[row] == 1] == 1).all()


def test_the_inversion_gives_equally_likely_draws() -> None:
    known = prior_explosions(3, knowledge_of(TOLD), atoms=(2, 2), error=0.01, seed=4)
    drawn = InversionSampler(TOLD).draw(known[2], 15, seed=0)
    assert drawn.shape == (15, 3, 2, 3)
    length = np.linalg.norm(drawn[:, :, 0] - drawn[:, :, 1], axis=2)
    true = np.linalg.norm(known[2].positions[:, 0] - known[2].positions[:, 1], axis=1)
    assert (np.abs(length.mean(axis=0) - true) < 6.0 * length.std(axis=0) + 1e-3).all()


@pytest.mark.slow
def test_the_posterior_of_the_inversion_is_what_it_claims_to_be() -> None:
    found = calibrate_posterior(
        INVERSION, ["prior"], cases=100, samples=31, atoms=(2, 3), explosion=TOLD, seed=11
    )
    one = found.sets["prior"]
    assert one.passed, verdict(found.sets)
    assert one.refused < 10


def test_results_are_written_and_recognised(tmp_path: Path) -> None:
    out, folder = tmp_path / "calibration.json", tmp_path / "page"
    run = calibrate_posterior(
        INVERSION,
        ["prior"],
        cases=24,
        samples=7,
        atoms=(2, 2),
        explosion=Explosion.of(ClassicalExplosion(Uncertain(45.0))),
        out=out,
        figures=folder,
    )
    values = json.loads(out.read_text(encoding="utf-8"))
    assert values["calibration"]["prior"]["cases"] == run.sets["prior"].cases
    assert str(kind_of_result(out)) == "evaluation (JSON)"
    page = (folder / "calibration.html").read_text(encoding="utf-8")
    assert "Is the posterior of inversion what it claims to be?" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert str(kind_of_result(folder / "calibration.html")) == "report page"
    assert str(kind_of_result(folder / "coverage.svg")) == "figure"


def test_what_cannot_be_tested_is_refused() -> None:
    with pytest.raises(UsageError, match="too few"):
        calibrate_posterior(INVERSION, ["prior"], cases=5)
    with pytest.raises(UsageError, match="no set 'stage7'"):
        calibrate_posterior(INVERSION, ["stage7"])
