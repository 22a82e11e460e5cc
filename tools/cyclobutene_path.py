"""Write docs/cyclobutene/path.xyz: from cyclobutene to butadiene, distorted and migrated beside it.

    pip install 'molexa[molecules]'
    python tools/cyclobutene_path.py

The ring opens at the bond between the two CH2 groups. Its length is held at values from that of
the ring to that of butadiene by a harmonic restraint, everything else relaxes (GFN2-xTB: C.
Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019), through tblite), each
structure beginning from the one before. The first step turns both CH2 groups the same way round:
thermal opening is conrotatory (R. B. Woodward, R. Hoffmann, J. Am. Chem. Soc. 87, 395 (1965)).

Distorted: structures of the path with all atoms displaced at random. Migrated: a hydrogen of a CH2
group moved to the carbon next to it and held there, everything else relaxed. These
structures are not minima of a reaction; they are there to be told apart.

The path is that of the ground state of the neutral molecule, without zero-point motion.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.optimize import minimize

from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.base.units import BOHR_ANGSTROM, HARTREE_EV
from molexa_core.io.xyz import write_xyz
from molexa_core.physics.molecules.library import molecule

ROOT: Final = Path(__file__).resolve().parents[1]
OUT: Final = ROOT / "docs" / "cyclobutene" / "path.xyz"
LENGTHS: Final = (1.56, 1.75, 1.95, 2.15, 2.35, 2.60, 2.85, 3.05)
"""Distance of the two CH2 carbons on the path, angstrom."""
STIFF: Final = 40.0
"""Force constant of restraints, eV per square angstrom."""
TWIST: Final = 0.25
"""First displacement of hydrogens out of the plane, angstrom."""
DISTORTED: Final = (0, 2, 5, 7)
"""Places on the path that are distorted."""
DISTORTION: Final = 0.10
"""Standard deviation of each coordinate, angstrom."""
MIGRATED: Final = 1.12
"""Length of the new C-H bond, angstrom."""
LEFT: Final = 2.15
"""Distance of a migrated hydrogen from the carbon that it left, angstrom."""


class Restrained:
    """GFN2-xTB with harmonic restraints on distances.

    Args:
        numbers: (N) atomic numbers.
        restraints: pairs of atoms with their length in angstrom.
    """

    def __init__(self, numbers: FloatArray, restraints: dict[tuple[int, int], float]) -> None:
        from tblite.interface import Calculator  # noqa: PLC0415  extra `molecules`

        self.numbers, self.restraints, self.maker = numbers, restraints, Calculator

    def __call__(self, positions: FloatArray) -> tuple[float, FloatArray]:
        """Energy in eV and gradient in eV per angstrom of (N, 3) angstrom."""
        calculator = self.maker("GFN2-xTB", self.numbers, positions / BOHR_ANGSTROM)
        calculator.set("verbosity", 0)
        found: Any = calculator.singlepoint()
        energy = float(found.get("energy")) * HARTREE_EV
        gradient = np.array(found.get("gradient")) * HARTREE_EV / BOHR_ANGSTROM
        for (i, j), length in self.restraints.items():
            apart = positions[i] - positions[j]
            distance = float(np.linalg.norm(apart))
            energy += 0.5 * STIFF * (distance - length) ** 2
            force = STIFF * (distance - length) * apart / distance
            gradient[i] += force
            gradient[j] -= force
        return energy, gradient


def relaxed(model: Restrained, start: FloatArray) -> FloatArray:
    """(N, 3) angstrom at the minimum next to a start."""

    def of(flat: FloatArray) -> tuple[float, FloatArray]:
        energy, gradient = model(flat.reshape(start.shape))
        return energy, gradient.ravel()

    found = minimize(
        of, start.ravel(), jac=True, method="BFGS", options={"gtol": 5e-3, "maxiter": 300}
    )
    x = found.x.reshape(start.shape)
    return np.asarray(x - x.mean(axis=0))


def path() -> list[tuple[str, Geometry]]:
    """All structures with their names."""
    known = molecule("cyclobutene").geometry
    numbers = np.array([6 if one == "C" else 1 for one in known.symbols])
    x = known.positions * BOHR_ANGSTROM
    ends, middles, hydrogens = _places(numbers, x)
    one, other = ends

    def geometry(positions: FloatArray) -> Geometry:
        return Geometry(known.symbols, positions / BOHR_ANGSTROM)

    found: list[tuple[str, Geometry]] = []
    start = relaxed(Restrained(numbers, {}), x)
    frames = [start]
    turned = start.copy()
    normal = _normal(start, middles, ends)
    for end, sign in ((one, 1.0), (other, -1.0)):
        upper, lower = sorted(hydrogens[end], key=lambda h: -float(start[h] @ normal))
        towards = start[other if end == one else one] - start[end]
        towards /= np.linalg.norm(towards)
        # The same way round: up goes inside on one end, outside on the other.
        turned[upper] += sign * TWIST * towards
        turned[lower] -= sign * TWIST * towards
    here = turned
    for length in LENGTHS[1:]:
        here = relaxed(Restrained(numbers, {(one, other): length}), here)
        frames.append(here)
    found += [(f"path {n + 1}", geometry(frame)) for n, frame in enumerate(frames)]
    cis = relaxed(Restrained(numbers, {}), frames[-1])
    found.append(("butadiene, s-cis side", geometry(cis)))
    library = molecule("1,3-butadiene").geometry
    trans = relaxed(
        Restrained(np.array([6 if s == "C" else 1 for s in library.symbols]), {}),
        library.positions * BOHR_ANGSTROM,
    )
    found.append(("butadiene, s-trans", Geometry(library.symbols, trans / BOHR_ANGSTROM)))
    random = np.random.default_rng(1)
    for place in DISTORTED:
        moved = frames[place] + DISTORTION * random.normal(size=start.shape)
        found.append((f"distorted {place + 1}", geometry(moved)))
    for number, (place, end) in enumerate(((0, one), (4, other)), start=1):
        base = frames[place]
        moved = _migrated(base, end, middles, hydrogens[end][0])
        mover, acceptor = hydrogens[end][0], _near(base, end, middles)
        held = Restrained(
            numbers, {(mover, acceptor): MIGRATED, (mover, end): LEFT, (one, other): LENGTHS[place]}
        )
        found.append((f"migrated {number}", geometry(relaxed(held, moved))))
    return found


def _places(
    numbers: FloatArray, x: FloatArray
) -> tuple[tuple[int, int], tuple[int, int], dict[int, list[int]]]:
    """The CH2 carbons, the CH carbons, and the hydrogens of each carbon."""
    carbons = np.flatnonzero(numbers == 6)
    owner: dict[int, list[int]] = {int(c): [] for c in carbons}
    for h in np.flatnonzero(numbers == 1):
        owner[int(carbons[np.linalg.norm(x[carbons] - x[h], axis=1).argmin()])].append(int(h))
    ends = tuple(c for c, some in owner.items() if len(some) == 2)
    middles = tuple(c for c, some in owner.items() if len(some) == 1)
    return (ends[0], ends[1]), (middles[0], middles[1]), owner


def _normal(x: FloatArray, middles: tuple[int, int], ends: tuple[int, int]) -> FloatArray:
    found = np.cross(x[middles[1]] - x[middles[0]], x[ends[0]] - x[middles[0]])
    return np.asarray(found / np.linalg.norm(found))


def _near(x: FloatArray, end: int, middles: tuple[int, int]) -> int:
    return min(middles, key=lambda c: float(np.linalg.norm(x[c] - x[end])))


def _migrated(x: FloatArray, end: int, middles: tuple[int, int], mover: int) -> FloatArray:
    """One hydrogen of an end on the carbon next to it, on the side where it was."""
    acceptor = _near(x, end, middles)
    away = x[mover] - 0.5 * (x[end] + x[acceptor])
    out = x.copy()
    out[mover] = x[acceptor] + MIGRATED * away / np.linalg.norm(away)
    return out


def main() -> None:
    """Write the file."""
    found = path()
    OUT.parent.mkdir(exist_ok=True)
    made = Provenance.of("python tools/cyclobutene_path.py", settings={"method": "GFN2-xTB"})
    write_xyz(OUT, [replace(one, comment=name) for name, one in found], made)
    for name, one in found:
        print(name, len(one))


if __name__ == "__main__":
    main()
