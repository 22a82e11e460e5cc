"""Do the intervals of the posterior hold what they say, and does the p-value reject what is right?

Geometries are drawn from the prior, parameters of the explosion from what is believed, momenta from
the family (charges that rise with time), with errors of measurement and of the model. Of each case
the posterior is asked for its interatomic distances. Right answers: 68 % of the truths inside the
central 68 % interval, ranks of the truths uniform (S. Talts et al., arXiv:1804.06788), at most 1 %
of p-values below 0.01, and with `--mistold` (a window 4 standard deviations from what is believed)
most of them below.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/inversion_coverage.py --cases 320 \
        --workers 16 --atoms 2 3 4 5 --channels 1 3 --knowledge known broad

With `--family xray` momenta are those of the surrogate of the Monte-Carlo model in a pulse of 2000
eV, 3e11 photons/um2 and 15 fs, all known exactly, fluence and duration told within 30 % and rates
of transfer, shake-off and double Auger unknown, or the rule of transfer unknown as well (broad).
The error of the surrogate is drawn with its unknown size.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures import TimeoutError as FuturesTimeout
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy.stats import chisquare

from molexa_core.base.belief import Belief
from molexa_core.base.known_explosion import XrayExplosion
from molexa_core.base.mathematics.rotations import rotations_of
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.tables import FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.geometry.measures import pair_distances
from molexa_core.physics.family.build_up_family import BUILD_UP_PRIOR, BuildUpFamily
from molexa_core.physics.family.error_size import size_of
from molexa_core.physics.family.family import ExplosionKnowledge, Fragments, Hypothesis
from molexa_core.physics.surrogate.xray_family import xray_prior
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.posterior import MeasuredChannel, infer

CHANNELS = {
    2: ("C+ O+", "C2+ O2+", "C2+ O4+"),
    3: ("O2+ C2+ S2+", "O2+ C2+ S4+", "O3+ C3+ S3+"),
    4: ("C2+ O2+ H+ H+", "C3+ O2+ H+ H+", "C3+ O4+ H+ H+"),
    5: ("C2+ Cl3+ H+ H+ H+", "C3+ Cl4+ H+ H+ H+", "C2+ Cl6+ H+ H+ H+"),
}
NOISE = 0.003
"""Standard error of a momentum component, share of the rms momentum."""
_CENTRES = BUILD_UP_PRIOR.mean


@dataclass(frozen=True)
class Case:
    """What one case showed: of each distance rank, whether it was inside, error and half-width."""

    ranks: FloatArray
    inside: FloatArray
    errors: FloatArray
    half_widths: FloatArray
    p_value: float
    effective: float
    seconds: float


def belief_of(knowledge: str) -> Belief:
    """What is believed: `known` exactly, `told` within 15 %, or `broad`."""
    share = {"known": 0.0, "told": 0.2, "broad": 1.0}[knowledge]
    return Belief(BUILD_UP_PRIOR.names, _CENTRES, share**2 * BUILD_UP_PRIOR.covariance)


def family_of(spread: float) -> BuildUpFamily:
    """The family with this share of its error."""
    plain = BuildUpFamily()
    return BuildUpFamily(
        window_spread=spread * plain.window_spread,
        onset_spread=spread * plain.onset_spread,
        smallest_error=spread * plain.smallest_error,
    )


def xray_hypotheses(knowledge: str) -> tuple[Hypothesis, ...]:
    """What is told of an X-ray pulse, for the surrogate of the Monte-Carlo model."""
    share = 0.0 if knowledge == "known" else 0.3
    told = XrayExplosion(
        photon_ev=Uncertain(2000.0),
        fluence_um2=Uncertain(3e11, 3e11 * share),
        duration_fs=Uncertain(15.0, 15.0 * share),
        transfer=None if knowledge == "broad" else "neutral",
        focus="volume",
        recapture=False,
        **(
            {name: Uncertain(value) for name, value in _EXACT_PHYSICS.items()}
            if knowledge == "known"
            else {}
        ),
    )
    return xray_prior(told)


_EXACT_PHYSICS = {"transfer_time_fs": 1.0, "shake_off": 0.1, "double_auger": 0.075}


def one_case(
    seed: int,
    atoms: int,
    channels: int,
    knowledge: str,
    spread: float,
    mistold: bool,
    kind: str = "build-up",
) -> Case:
    """Draw a truth, measure it, infer it."""
    random = np.random.default_rng([seed, atoms, channels])
    every = [
        Fragments.of([parse_ion(ion) for ion in names.split()])
        for names in CHANNELS[atoms][:channels]
    ]
    if kind == "xray":
        hypotheses = xray_hypotheses(knowledge)
    else:
        hypotheses = (Hypothesis(family_of(spread), belief_of(knowledge)),)
    true = hypotheses[int(random.integers(len(hypotheses)))] if kind == "xray" else hypotheses[0]
    family, belief = true.family, true.belief
    prior = GeometryPrior.of(every[0].symbols)
    x = prior.draw(random, 1)
    parameters = belief.draw(random, 1)
    if mistold:
        parameters = parameters + 4.0 * belief.width * np.array([1.0, 0.0, 0.0, 0.0])
    size = size_of(family)
    measured = []
    for fragments in every:
        p = family.explode(fragments, x, parameters)[0]
        sigma = NOISE * float(np.sqrt((p**2).mean()))
        own = family.error(fragments, x, parameters)[0]
        if np.isfinite(size.freedom):
            own = own * size.of_uniform(random.random(1))[0]
        covariance = own + sigma**2 * np.eye(p.size)
        p = p + (np.linalg.cholesky(covariance) @ random.standard_normal(p.size)).reshape(p.shape)
        turn = rotations_of(random.standard_normal((4, 1)))[0]
        measured.append(MeasuredChannel(fragments, p @ turn.T, sigma**2 * np.eye(p.size)))
    known = ExplosionKnowledge(hypotheses, "as drawn", "told")
    begin = time.process_time()
    found = infer(measured, known, geometry=prior, seed=seed)
    seconds = time.process_time() - begin
    truth, drawn = pair_distances(x)[0], pair_distances(found.positions)
    said = found.distances()
    return Case(
        ranks=found.weights @ (drawn < truth),
        inside=(said.low < truth) & (truth < said.high),
        errors=said.mean - truth,
        half_widths=said.half_width,
        p_value=found.p_value,
        effective=found.effective_samples,
        seconds=seconds,
    )


def line(cases: list[Case]) -> str:
    """One row of the table."""
    ranks = np.concatenate([one.ranks for one in cases])
    inside = np.array([one.inside.mean() for one in cases])
    errors = np.concatenate([one.errors for one in cases])
    widths = np.concatenate([one.half_widths for one in cases])
    p = np.array([one.p_value for one in cases])
    # Ranks of one molecule are not independent: the first distance of each is.
    first = np.histogram([one.ranks[0] for one in cases], np.linspace(0.0, 1.0, 11))[0]
    return (
        f"{100 * inside.mean():5.1f} +- {100 * inside.std() / len(cases) ** 0.5:3.1f} % inside, "
        f"rank p {chisquare(first).pvalue:5.3f}, "
        f"off scale {100 * ((ranks < 1e-3) | (ranks > 1 - 1e-3)).mean():4.1f} %, "
        f"MAE {np.abs(errors).mean():5.3f}, rms {np.sqrt((errors**2).mean()):5.3f} / "
        f"{np.sqrt((widths**2).mean()):5.3f} bohr, "
        f"p < 0.01 {100 * (p < 0.01).mean():4.1f} %, p < 0.1 {100 * (p < 0.1).mean():4.1f} %, "
        f"ESS {np.median([one.effective for one in cases]):5.0f} "
        f"(least {min(one.effective for one in cases):4.0f}), "
        f"CPU {np.mean([one.seconds for one in cases]):4.1f} s "
        f"(most {max(one.seconds for one in cases):4.1f})"
    )


def main() -> None:
    """Print one row for each combination."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=320)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--atoms", type=int, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--channels", type=int, nargs="+", default=[1])
    parser.add_argument("--knowledge", nargs="+", default=["known", "broad"])
    parser.add_argument("--spread", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--mistold", action="store_true")
    parser.add_argument("--family", choices=("build-up", "xray"), default="build-up")
    parser.add_argument("--minutes", type=float, default=1e4, help="when to stop")
    parser.add_argument("--out", type=Path, help="JSON lines, one for each case as it is found")
    asked = parser.parse_args()
    rows = list(product(asked.atoms, asked.channels, asked.knowledge, asked.spread))
    found: dict[tuple[int, int, str, float], dict[int, Case]] = {row: {} for row in rows}
    with ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(asked.workers))
        stream = stack.enter_context(asked.out.open("a")) if asked.out else None
        # The same cases of all rows first: a run that is stopped has all rows.
        waiting = {
            pool.submit(one_case, seed, *row, asked.mistold, asked.family): (seed, row)
            for seed in range(asked.first, asked.first + asked.cases)
            for row in rows
        }
        try:
            for future in as_completed(waiting, timeout=60.0 * asked.minutes):
                seed, row = waiting[future]
                found[row][seed] = case = future.result()
                if stream is not None:
                    values = {k: np.asarray(v).tolist() for k, v in vars(case).items()}
                    stream.write(json.dumps({"row": row, "seed": seed, **values}) + "\n")
                    stream.flush()
        except FuturesTimeout:
            print(f"{asked.minutes:g} minutes are over")
            running = list(pool._processes.values())  # noqa: SLF001  # they would go on
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.terminate()
    for row, cases in found.items():
        if not cases:
            continue
        print(title(row), line([cases[seed] for seed in sorted(cases)]))
        _, channels, knowledge, spread = row
        one = found.get((row[0], 1, knowledge, spread))
        if channels > 1 and one is not None:
            print(f"    {against(cases, one)}")


def title(row: tuple[int, int, str, float]) -> str:
    """What a row of the table is about."""
    atoms, channels, knowledge, spread = row
    return f"{atoms} atoms, {channels} channels, {knowledge}, error of the family x {spread:g}:"


def against(several: dict[int, Case], one: dict[int, Case]) -> str:
    """Mean absolute error of several channels over that of the first alone."""
    same = sorted(several.keys() & one.keys())
    error = [
        float(np.mean([np.abs(cases[seed].errors).mean() for seed in same]))
        for cases in (several, one)
    ]
    return f"MAE {error[0]:.3f} against {error[1]:.3f} bohr of one: {error[0] / error[1]:.2f}"


if __name__ == "__main__":
    main()
