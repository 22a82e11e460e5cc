"""What does it bring to tell the program what the X-ray pulse was?

    python benchmarks/told_pulses.py [--molecules water co2 formaldehyde] [--out told_pulses.jsonl]

Molecules at rest explode in five pulses of the Monte-Carlo model, with its default physics; the
first pulse is the one that the weights `molexa-stage2` learned. Mean momenta of the most frequent
combination of charges are reconstructed in three ways: nothing told; photon energy exactly, pulse
energy, duration and focus within 20 % (`told`); or in the belief that all charges rise within
exactly 45 fs, as versions 0.1 and 0.2 assumed (`45 fs`). Each answer is a line of OUT.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.forward_model import Pulse
from molexa_core.base.known_explosion import ClassicalExplosion, XrayExplosion
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Explosion
from molexa_core.base.uncertain import Uncertain
from molexa_core.geometry.measures import pair_distances
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.mcmd.trajectories import run_trajectories
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.posterior import MeasuredChannel, infer

PULSES: Final = (
    Pulse(photon_ev=2000.0, energy_mj=1.0, duration_fs=15.0, focus_um=1.0),
    Pulse(photon_ev=600.0, energy_mj=0.3, duration_fs=25.0, focus_um=1.5),
    Pulse(photon_ev=2000.0, energy_mj=1.0, duration_fs=5.0, focus_um=1.0),
    Pulse(photon_ev=1500.0, energy_mj=1.0, duration_fs=25.0, focus_um=1.0),
    Pulse(photon_ev=2000.0, energy_mj=1.0, duration_fs=40.0, focus_um=1.0),
)
WITHIN: Final = 0.2


def told(pulse: Pulse) -> dict[str, Explosion]:
    """What is said about a pulse, by the name of the way."""

    def roughly(value: float) -> Uncertain:
        return Uncertain(value, WITHIN * value)

    known = XrayExplosion(
        photon_ev=Uncertain(pulse.photon_ev),
        energy_mj=roughly(pulse.energy_mj),
        duration_fs=roughly(pulse.duration_fs),
        focus_um=roughly(pulse.focus_um),
        transmission=Uncertain(pulse.transmission),
    )
    return {
        "told": Explosion.of(known),
        "nothing": Explosion.of(None),
        "45 fs": Explosion.of(ClassicalExplosion(Uncertain(45.0))),
    }


def channel_of(name: str, pulse: Pulse, count: int) -> tuple[MeasuredChannel, list[int]]:
    """Mean momenta of the most frequent combination of charges, and these."""
    at_rest = molecule(name).geometry
    x, symbols, atoms = at_rest.positions, at_rest.symbols, len(at_rest)
    found = run_trajectories(x, symbols, pulse, trajectories=count, seed=1)
    kept = ~found.lost.reshape(-1) & (found.charges.reshape(-1, atoms) > 0).all(axis=1)
    charges = found.charges.reshape(-1, atoms)[kept]
    momenta = found.momenta.reshape(-1, atoms, 3)[kept].astype(np.float64)
    every, counts = np.unique(charges, axis=0, return_counts=True)
    chosen = every[counts.argmax()]
    seen = momenta[(charges == chosen).all(axis=1)]
    seen = seen - seen.mean(axis=1, keepdims=True)
    flat = seen.reshape(len(seen), -1)
    ions = [parse_ion(f"{s}{q}+") for s, q in zip(symbols, chosen, strict=True)]
    covariance = np.cov(flat.T) / len(flat)
    return MeasuredChannel(Fragments.of(ions), seen.mean(axis=0), covariance), chosen.tolist()


def answered(name: str, pulse: Pulse, count: int) -> list[dict[str, Any]]:
    """All ways of one molecule in one pulse."""
    channel, charges = channel_of(name, pulse, count)
    prior = GeometryPrior.of(channel.fragments.symbols)
    truth = pair_distances(molecule(name).geometry.positions[None])[0]
    rows = []
    for way, explosion in told(pulse).items():
        found = infer([channel], knowledge_of(explosion, prior.symbols), geometry=prior, seed=1)
        said = found.distances()
        error = said.median - truth
        size = float(np.sqrt(np.mean(said.half_width**2)))
        rows.append(
            {
                "molecule": name,
                "charges": charges,
                "photon_ev": pulse.photon_ev,
                "duration_fs": pulse.duration_fs,
                "way": way,
                "mean_error": float(np.abs(error).mean()),
                "half_width": size if found.effective_samples else None,
                "ratio": float(np.sqrt(np.mean(error**2)) / size)
                if found.effective_samples
                else None,
                "p_value": found.p_value,
                "errors": error.tolist(),
                "half_widths": said.half_width.tolist(),
            }
        )
    return rows


def main() -> None:
    """Print and write all answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--molecules", nargs="+", default=["water", "co2", "formaldehyde"])
    parser.add_argument("--trajectories", type=int, default=8000)
    parser.add_argument("--out", type=Path, default=Path("told_pulses.jsonl"))
    given = parser.parse_args()
    with given.out.open("a", encoding="utf-8") as stream:
        for name in given.molecules:
            for pulse in PULSES:
                for row in answered(name, pulse, given.trajectories):
                    stream.write(json.dumps(row) + "\n")
                    stream.flush()
                    said = "no error bars"
                    if row["ratio"] is not None:
                        said = f"half-width {row['half_width']:.2f}, ratio {row['ratio']:.2f}"
                    print(
                        f"{row['molecule']} {row['photon_ev']:.0f} eV {row['duration_fs']:.0f} fs, "
                        f"{row['way']}: mean error {row['mean_error']:.2f} bohr, {said}, "
                        f"p {row['p_value']:.2g}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
