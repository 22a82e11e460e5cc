"""Does a molecule of known geometry help more with the same molecule in another pulse or channel?

    python benchmarks/same_molecule.py --members 20

Nature is a member of the family of strong lasers whose atoms deviate from it, in ways that are
alike in two pulses and channels as far as is believed (`physics.family.atom_deviations`), or, with
`--fresh`, not at all: then nothing may be carried on. OCS is a reference in two pulses (30 and 200
fs, charges of 2), 1500 coincidences with zero-point motion each. The explosion is calibrated on
them. Then mean momenta of OCS with another geometry (each atom 0.3 bohr off in each direction) in a
pulse of 100 fs, charges of 2, and in one of 200 fs, charges of 3, are inverted with and without
what is known of the atoms. Printed: mean error of the distances, rms half-width, ratio and width of
the pulls.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from molexa_core.base.known_explosion import LaserExplosion
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.settings import Explosion
from molexa_core.base.settings.explosion_block import Reference as ReferenceBlock
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.geometry.measures import pair_distances
from molexa_core.physics.family.atom_deviations import (
    charge_alikeness,
    charges_of_kinds,
    moved_by_kinds,
)
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.family.laser_family import LaserFamily, laser_prior
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.molecules.vibrations import sample_ground_state
from molexa_core.physics.virtual.experiment import target_of_ions
from molexa_core.pipeline.calibration.aligned_means import observe
from molexa_core.pipeline.calibration.calibrate_explosion import (
    calibrate_explosion,
    calibrated_block,
    conditions_of,
)
from molexa_core.pipeline.calibration.deviations import pulse_alikeness
from molexa_core.pipeline.calibration.prior import joint_prior
from molexa_core.pipeline.calibration.references import Reference
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.posterior import MeasuredChannel, infer

MOLECULE = "ocs"
CHANNELS = (
    (30.0, "O2+ C2+ S2+"),
    (200.0, "O2+ C2+ S2+"),
    (100.0, "O2+ C2+ S2+"),
    (200.0, "O3+ C3+ S3+"),
)
"""Durations and ions: two references, then what is inverted."""
COINCIDENCES = 1500
MOVED_BOHR = 0.3


def drawn_nature(random: np.random.Generator, *, fresh: bool) -> tuple[FloatArray, FloatArray]:
    """Parameters (channels, P), and deviations of the elements (channels, M)."""
    durations = np.log([one for one, _ in CHANNELS])
    different, which = np.unique(durations, return_inverse=True)
    apart = np.abs(different[:, None] - different[None])
    prior = joint_prior([laser_prior(float(np.exp(one))) for one in different], apart)
    parameters = prior.coordinates(random.standard_normal((1, prior.size)))[0][which]
    fragments = [Fragments.of(ions) for ions in (ions_of(names) for _, names in CHANNELS)]
    alike = pulse_alikeness(LaserFamily(), np.abs(durations[:, None] - durations[None]))
    alike = alike * charge_alikeness(np.stack([charges_of_kinds(one) for one in fragments]))
    values, vectors = np.linalg.eigh(np.eye(len(alike)) if fresh else alike)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    size = moved_by_kinds(LaserFamily(), fragments[0], rest_of(CHANNELS[0][1]), parameters[:1])
    return parameters, root @ random.standard_normal((len(alike), size.shape[2]))


def ions_of(names: str) -> tuple[Ion, ...]:
    """The ions of a channel."""
    return tuple(parse_ion(name) for name in names.split())


def rest_of(names: str) -> FloatArray:
    """(1, N, 3) the molecule at rest."""
    return np.asarray(
        target_of_ions(ions_of(names), molecule(MOLECULE), where=MOLECULE).positions[None]
    )


def left_open(
    fragments: Fragments,
    x: FloatArray,
    parameters: FloatArray,
    deviations: FloatArray,
    random: np.random.Generator,
) -> FloatArray:
    """(N, 3) momenta that the family does not say, at a geometry (1, N, 3)."""
    family = LaserFamily()
    by = moved_by_kinds(family, fragments, x, parameters[None])[0]
    rest = family.error(fragments, x, parameters[None])[0] - by @ by.T
    values, vectors = np.linalg.eigh(rest)
    other = vectors @ (np.sqrt(np.maximum(values, 0.0)) * random.standard_normal(len(values)))
    return np.asarray((by @ deviations + other).reshape(-1, 3))


def reference(
    number: int, parameters: FloatArray, deviations: FloatArray, random: np.random.Generator
) -> Reference:
    """Coincidences of a reference."""
    duration, names = CHANNELS[number]
    ions = ions_of(names)
    target = target_of_ions(ions, molecule(MOLECULE), where=MOLECULE)
    modes = target.modes
    if modes is None:
        raise AssertionError(MOLECULE)
    fragments = Fragments.of(ions)
    structures = sample_ground_state(target.positions, modes.stiffened(), COINCIDENCES, random)
    momenta = LaserFamily().explode(fragments, structures, np.tile(parameters, (COINCIDENCES, 1)))
    off = left_open(fragments, target.positions[None], parameters, deviations, random)
    table = Coincidences.of(ions, momenta + off)
    observed = observe(table, target)
    return Reference(f"{duration:g} fs", MOLECULE, ions, target, observed, None, number + 1)


def member(seed: int, *, fresh: bool) -> list[dict[str, Any]]:
    """The inversions of one member, with and without what is known of the atoms."""
    random = np.random.default_rng([seed, 12])
    parameters, deviations = drawn_nature(random, fresh=fresh)
    rows = []
    references = [reference(n, parameters[n], deviations[n], random) for n in range(2)]
    for number in (2, 3):
        duration, names = CHANNELS[number]
        ions = ions_of(names)
        told = LaserExplosion(duration_fs=Uncertain(duration))
        conditions = conditions_of(told, [{"duration_fs": CHANNELS[n][0]} for n in range(2)])
        points = [one["duration_fs"] for one in conditions.numbers]
        placed = [
            Reference(
                *(one.label, one.molecule, one.ions, one.target, one.observed, None),
                points.index(CHANNELS[n][0]),
            )
            for n, one in enumerate(references)
        ]
        found = calibrate_explosion(placed, conditions, advise=False, seed=seed)
        blocks = [
            ReferenceBlock(file=one.label, molecule=MOLECULE, ions=tuple(map(str, one.ions)))
            for one in placed
        ]
        explosion = Explosion.of(told, calibrated_block(found, conditions, blocks, {}))
        fragments = Fragments.of(ions)
        x = rest_of(names) + MOVED_BOHR * random.standard_normal((1, len(ions), 3))
        momenta = LaserFamily().explode(fragments, x, parameters[number][None])[0]
        momenta = momenta + left_open(fragments, x, parameters[number], deviations[number], random)
        sigma = 0.003 * float(np.sqrt((momenta**2).mean()))
        momenta = momenta + sigma * random.standard_normal(momenta.shape)
        measured = MeasuredChannel(fragments, momenta, sigma**2 * np.eye(momenta.size))
        for known in (True, False):
            knowledge = knowledge_of(explosion, fragments.symbols if known else None)
            answer = infer(
                [measured], knowledge, geometry=GeometryPrior.of(fragments.symbols), seed=seed
            )
            said, truth = answer.distances(), pair_distances(x)[0]
            rows.append(
                {
                    "seed": seed,
                    "target": f"{duration:g} fs {names}",
                    "known": known,
                    "errors": (said.median - truth).tolist(),
                    "half_widths": said.half_width.tolist(),
                    "inside": ((said.low < truth) & (truth < said.high)).tolist(),
                    "p_value": answer.p_value,
                    "calibration_p_value": found.p_value,
                }
            )
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """One line."""
    error = np.array([one["errors"] for one in rows])
    width = np.array([one["half_widths"] for one in rows])
    inside = np.array([one["inside"] for one in rows]).mean(axis=1)
    p = np.array([one["p_value"] for one in rows])
    return (
        f"{len(rows):3d} members: mean error {np.abs(error).mean():.3f}, rms error "
        f"{np.sqrt((error**2).mean()):.3f} / half-width {np.sqrt((width**2).mean()):.3f} = "
        f"{np.sqrt((error**2).mean() / (width**2).mean()):.2f}, rms pull "
        f"{np.sqrt(((error / width) ** 2).mean()):.2f}, inside {100 * inside.mean():.0f} +- "
        f"{100 * inside.std() / len(rows) ** 0.5:.0f} %, p < 0.01: {(p < 0.01).sum()}"
    )


def main() -> None:
    """Print a line for each target, with and without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="deviations that are never alike")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in range(asked.first, asked.first + asked.members):
        rows += member(seed, fresh=asked.fresh)
        if asked.out is not None:
            asked.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for target in dict.fromkeys(one["target"] for one in rows):
        for known in (True, False):
            chosen = [one for one in rows if one["target"] == target and one["known"] == known]
            print(f"{target} {'with' if known else 'without':>7} {summary(chosen)}", flush=True)


if __name__ == "__main__":
    main()
