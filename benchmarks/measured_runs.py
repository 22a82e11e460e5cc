"""How wrong are structures from measured explosions in laser pulses, and how wrong do they claim?

    python benchmarks/measured_runs.py DATA.csv [--weights W] [--out FILE.json]

DATA.csv holds coincidences of OCS -> O2+ C2+ S2+ in pulses of several durations: columns pulse_fs,
event, then px,py,pz of each ion (a.u., centre of mass at rest). Three questions:

1. Each duration with nothing known but the duration.
2. Each duration with the explosion calibrated on OCS, whose geometry is known, in the two others.
3. Each duration with the explosion calibrated on OCS in one of the others.

Printed for each: ratio of the rms error of the three distances to the rms of their claimed 68 %
half-widths (1 is honest, above 1 too sure), the rms half-width, the mean distance error, bohr, and
p-values. With `--weights`, weights that are told the experiment, their samples are starts of the
search of the first question, and the samples alone are judged, too.
The structure that counts as true is the equilibrium; bending vibrations make the mean O-S
distance 0.02 bohr shorter.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from molexa_core.base.known_explosion import LaserExplosion
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.settings import Explosion
from molexa_core.base.settings.explosion_block import Reference as ReferenceBlock
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.frame.align import align_events, heaviest_frame
from molexa_core.frame.centroid import centroids
from molexa_core.geometry.measures import pair_distances
from molexa_core.network.inference.engine import Engine
from molexa_core.network.weights import load_network
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.virtual.experiment import target_of_ions
from molexa_core.pipeline.calibration.aligned_means import observe
from molexa_core.pipeline.calibration.calibrate_explosion import (
    calibrate_explosion,
    calibrated_block,
    conditions_of,
)
from molexa_core.pipeline.calibration.references import Reference
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.posterior import MeasuredChannel, infer
from molexa_core.pipeline.reconstruction.told_samples import ToldEntry, sample

MOLECULE = "ocs"
SAMPLES = 64
STARTS = 16
"""Samples of a network that are judged, and those that are starts."""


@dataclass(frozen=True)
class Run:
    """The coincidences of one duration."""

    duration_fs: float
    ions: tuple[Ion, ...]
    events: Coincidences

    def channel(self) -> MeasuredChannel:
        """Mean momenta in the frame of the heaviest ion, as `molexa align` and `centroid` give."""
        rows = centroids(align_events(self.events, heaviest_frame(self.ions)).table)
        momenta = rows[["px", "py", "pz"]].to_numpy(dtype=np.float64)
        errors = rows[["px_err", "py_err", "pz_err"]].to_numpy(dtype=np.float64)
        return MeasuredChannel(
            Fragments.of(self.ions), momenta, np.diag(np.square(errors).reshape(-1))
        )

    def truth(self) -> FloatArray:
        """(pairs) distances at the equilibrium, bohr."""
        target = target_of_ions(self.ions, molecule(MOLECULE), where=MOLECULE)
        return np.asarray(pair_distances(target.positions[None])[0])

    def reference(self, condition: int) -> Reference:
        """The run as a reference of known geometry."""
        target = target_of_ions(self.ions, molecule(MOLECULE), where=MOLECULE)
        observed = observe(self.events, target)
        label = f"{MOLECULE} {self.duration_fs:g} fs"
        return Reference(label, MOLECULE, self.ions, target, observed, None, condition)


def read_runs(path: Path) -> list[Run]:
    """The runs of a file, shortest pulse first."""
    table = pd.read_csv(path, comment="#")
    names = [column[:-3] for column in table.columns if column.endswith("_px")]
    ions = tuple(parse_ion(name) for name in names)
    columns = [f"{name}_{axis}" for name in names for axis in ("px", "py", "pz")]
    runs = []
    for duration in np.unique(table["pulse_fs"].to_numpy(dtype=np.float64)).tolist():
        rows = table[table["pulse_fs"] == duration]
        momenta = rows[columns].to_numpy(dtype=np.float64).reshape(-1, len(ions), 3)
        runs.append(Run(duration, ions, Coincidences.of(ions, momenta)))
    return sorted(runs, key=lambda run: run.duration_fs)


def told(run: Run) -> LaserExplosion:
    """What is told of a run: the duration alone."""
    return LaserExplosion(duration_fs=Uncertain(run.duration_fs))


def samples_of(run: Run, engine: Engine, seed: int) -> FloatArray:
    """(samples, N, 3) structures of a network that is told the duration, bohr."""
    channel = run.channel()
    errors = np.sqrt(np.diag(channel.covariance).reshape(-1, 3).mean(axis=1))
    entry = ToldEntry(run.ions, channel.momenta, "mean", float(len(run.events)), errors)
    return sample(engine, [entry], told(run), SAMPLES, seed)[0]


def by_samples(run: Run, samples: FloatArray) -> dict[str, Any]:
    """The errors and claims of the distances of samples alone."""
    low, median, high = np.quantile(pair_distances(samples), [0.15865, 0.5, 0.84135], axis=0)
    return _row(run, median, 0.5 * (high - low)) | {"p_value": None}


def _row(run: Run, median: FloatArray, half_width: FloatArray) -> dict[str, Any]:
    error = median - run.truth()
    return {
        "ratio": float(np.sqrt(np.mean(error**2) / np.mean(half_width**2))),
        "half_width": float(np.sqrt(np.mean(half_width**2))),
        "mean_error": float(np.abs(error).mean()),
        "errors": error.tolist(),
        "half_widths": half_width.tolist(),
    }


def judged(
    run: Run, explosion: Explosion, seed: int, samples: FloatArray | None = None
) -> dict[str, Any]:
    """The errors and claims of the distances of one run; samples are starts of the search."""
    symbols = [ion.element.symbol for ion in run.ions]
    found = infer(
        [run.channel()],
        knowledge_of(explosion, symbols),
        geometry=GeometryPrior.of(symbols),
        starts=None if samples is None else samples[:STARTS],
        seed=seed,
    )
    distances = found.distances()
    return _row(run, distances.median, distances.half_width) | {
        "p_value": found.p_value,
        "effective_samples": found.effective_samples,
    }


def calibrated_on(run: Run, others: list[Run], seed: int) -> tuple[Explosion, dict[str, Any]]:
    """What is known of a run's explosion from OCS in other pulses."""
    conditions = conditions_of(told(run), [{"duration_fs": one.duration_fs} for one in others])
    references = [one.reference(number) for number, one in enumerate(others, start=1)]
    found = calibrate_explosion(references, conditions, advise=False, seed=seed)
    blocks = [
        ReferenceBlock(file=one.label, molecule=one.molecule, ions=tuple(map(str, one.ions)))
        for one in references
    ]
    block = calibrated_block(found, conditions, blocks, {})
    summary = {
        "calibration_p_value": found.p_value,
        "misfit": found.misfit,
        "effective_samples": found.best.effective,
    }
    return Explosion.of(told(run), block), summary


def main() -> None:
    """Answer the three questions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", help="weights that are told the experiment")
    parser.add_argument("--duration-only", action="store_true", help="the first question alone")
    options = parser.parse_args()
    runs = read_runs(options.data)
    engine = Engine(load_network(options.weights)[0]) if options.weights else None
    rows: list[dict[str, Any]] = []
    print(f"{'run':>7} {'known from':>14} {'ratio':>6} {'claim':>6} {'error':>6}  p    p(cal)")
    for run in runs:
        others = [one for one in runs if one is not run]
        cases: list[list[Run]] = [[], *([list(pair) for pair in combinations(others, 2)])]
        cases += [[one] for one in others]
        samples = None
        if engine is not None:
            samples = samples_of(run, engine, options.seed)
            row = {"pulse_fs": run.duration_fs, "samples_alone": True, **by_samples(run, samples)}
            rows.append(row)
            print(
                f"{run.duration_fs:4g} fs {'samples alone':>14} {row['ratio']:6.2f} "
                f"{row['half_width']:6.2f} {row['mean_error']:6.2f}",
                flush=True,
            )
        for used in cases[:1] if options.duration_only else cases:
            explosion = Explosion.of(told(run))
            summary: dict[str, Any] = {}
            if used:
                explosion, summary = calibrated_on(run, used, options.seed)
            row = {
                "pulse_fs": run.duration_fs,
                "calibrated_on_fs": [one.duration_fs for one in used],
                **judged(run, explosion, options.seed, None if used else samples),
                **summary,
            }
            rows.append(row)
            source = " ".join(f"{one.duration_fs:g}" for one in used) or "duration"
            at_calibration = f"{summary['calibration_p_value']:.3f}" if summary else ""
            print(
                f"{run.duration_fs:4g} fs {source:>14} {row['ratio']:6.2f} {row['half_width']:6.2f}"
                f" {row['mean_error']:6.2f}  {row['p_value']:.3f} {at_calibration}",
                flush=True,
            )
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
