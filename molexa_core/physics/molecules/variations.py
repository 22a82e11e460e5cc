"""Variations of a molecule: structures around the equilibrium for a data set.

Kinds of variations; each is drawn independently, so that more draws of one do not change others:

* `equilibrium`: the equilibrium geometry, at rest.
* `displaced`: the published protocol, k of the N atoms moved, the same number of draws for every
  k = 1..N-1. Its amplitudes are not published. Here the k atoms are a random choice; each moves
  in a direction uniform on the sphere by a length uniform between 0 and `REACH` = 3 bohr; and the
  draw is repeated as a whole, choice of atoms included, until no moved atom is in contact with
  another atom. Contact is a distance below `CLASH` = 0.75 of the sum of the covalent radii, or
  below `NEAREST` = 1.2 bohr. Bonds break this way, and protons migrate. The atoms are at rest.
* `zero-point`: positions and velocities from the Wigner function of the vibrational ground state.
* `thermal`: the same at a temperature.
* `trajectory`: structures supplied by the user, such as the frames of a reaction.

The published protocol displaces k = 1..N-1 atoms, so a molecule of two atoms has an eighth of the
draws of one with nine. `Variations.least` compensates for that: if the other numbers give fewer
geometries, further displaced draws follow, with k in turn. They come last and continue the
numbers of the draws.

For the two harmonic kinds modes softer than 100 /cm get that wavenumber (see
`NormalModes.stiffened`), and a draw is repeated where two atoms are closer than `HARD` = 0.6 of
the sum of their covalent radii.

The centre of mass of every drawn structure is at the origin. Molecules do not rotate: displaced
ones are at rest; harmonic ones have no total momentum and obey the Eckart conditions
(`vibrations.sample_wigner`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import numpy as np

from molexa_core.base.errors import ComputationError, InputFileError, UsageError, listing
from molexa_core.base.matter.elements import element
from molexa_core.base.tables import BoolArray, FloatArray, Geometry
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.physics.molecules.draws import PUBLISHED, Variations
from molexa_core.physics.molecules.library import Molecule
from molexa_core.physics.molecules.vibrations import sample_wigner

Kind = Literal["equilibrium", "displaced", "zero-point", "thermal", "trajectory"]
KINDS: Final[tuple[Kind, ...]] = (
    "equilibrium",
    "displaced",
    "zero-point",
    "thermal",
    "trajectory",
)
REACH: Final = 3.0
"""Longest displacement of an atom, bohr."""
CLASH: Final = 0.75
"""Displaced: smallest distance of a moved atom as a share of the sum of covalent radii."""
NEAREST: Final = 1.2
"""Displaced: smallest distance of a moved atom, bohr (H2 has 1.4)."""
HARD: Final = 0.6
"""Vibrating: smallest distance of two atoms as a share of the sum of covalent radii."""
OVERLAP: Final = 0.5
"""Trajectories: distance, bohr, below which two atoms are considered a mistake."""
_TRIES: Final = 5000
_CANDIDATES: Final = 16
"""Candidates per try and number of tries, after which a draw is given up."""


@dataclass(frozen=True)
class Variation:
    """One structure of a molecule.

    Attributes:
        geometry: positions in bohr, centre of mass at the origin unless from a trajectory.
        velocities: (atoms, 3) atomic units; None at rest.
        kind: one of `KINDS`.
        k: number of displaced atoms, 0 for the other kinds.
        index: number of the draw (or frame) within its kind and k, from 0.
    """

    geometry: Geometry
    velocities: FloatArray | None
    kind: Kind
    k: int
    index: int

    @property
    def label(self) -> str:
        """A label that is unique for a molecule, such as `displaced-3-7` or `thermal-2`."""
        if self.kind == "equilibrium":
            return self.kind
        return f"{self.kind}-{self.k}-{self.index}" if self.k else f"{self.kind}-{self.index}"


def variations(
    molecule: Molecule,
    wanted: Variations = PUBLISHED,
    *,
    trajectory: Sequence[Geometry] = (),
    seed: int,
) -> list[Variation]:
    """The variations of a molecule, by kind, k and index; those that `least` adds come last.

    Each is a function of seed, name of the molecule, kind, k and index (and temperature) only, not
    of other variations or of the order of the molecules.

    Args:
        molecule: the equilibrium and its Hessian.
        wanted: the numbers of each kind.
        trajectory: further structures of this molecule, used without change.
        seed: of the random draws, 0 or above.

    Raises:
        UsageError: vibrations of a molecule without a Hessian, or a negative seed.
        InputFileError: a frame of the trajectory has other atoms, or two atoms coincide.
        ComputationError: no draw without contacts was found.

    Example:
        >>> from molexa_core.physics.molecules.draws import Variations
        >>> from molexa_core.physics.molecules.library import molecule
        >>> few = Variations(displaced=1)
        >>> [found.label for found in variations(molecule("water"), few, seed=1)]
        ['equilibrium', 'displaced-1-0', 'displaced-2-0']
    """
    if seed < 0:
        raise UsageError(f"the seed is {seed}", do="Give a seed of 0 or above.")
    geometry = molecule.geometry
    found: list[Variation] = []
    if wanted.equilibrium:
        found.append(Variation(geometry, None, "equilibrium", 0, 0))
    for k in range(1, len(geometry)):
        found += [_displaced(molecule, k, index, seed) for index in range(wanted.displaced)]
    found += _vibrating(molecule, "zero-point", wanted.zero_point, 0.0, seed)
    found += _vibrating(molecule, "thermal", wanted.thermal, wanted.temperature_k, seed)
    for number in range(wanted.further(len(geometry))):
        turn, k = divmod(number, len(geometry) - 1)
        found.append(_displaced(molecule, k + 1, wanted.displaced + turn, seed))
    if trajectory:
        found += trajectory_variations(trajectory, symbols=geometry.symbols)
    return found


def trajectory_variations(
    frames: Sequence[Geometry], *, symbols: Sequence[str] | None = None
) -> list[Variation]:
    """The structures of a trajectory as variations, at rest, with unchanged positions.

    Args:
        frames: the structures, with the same atoms in the same order.
        symbols: the required atoms; those of the first frame if None.

    Raises:
        InputFileError: no frame, other atoms, a coordinate that is not a number, or two atoms
            within `OVERLAP`.
    """
    if not frames:
        raise InputFileError("the trajectory has no structure", do="Give at least one.")
    wanted = tuple(frames[0].symbols if symbols is None else symbols)
    for number, frame in enumerate(frames, start=1):
        where = f"structure {number} of the trajectory"
        if frame.symbols != wanted:
            raise InputFileError(
                f"the atoms are {listing(frame.symbols)}, not {listing(wanted)}",
                where=where,
                do="All structures need the same atoms in the same order.",
            )
        if not np.isfinite(frame.positions).all():
            raise InputFileError(
                "a coordinate is not a number", where=where, do="Correct the structure."
            )
        distance = _distances(frame.positions[None])[0]
        if distance.min() < OVERLAP:
            one, two = np.unravel_index(distance.argmin(), distance.shape)
            raise InputFileError(
                f"atoms {one + 1} and {two + 1} are {distance.min():.3f} bohr apart",
                where=where,
                do="Check the coordinates and their unit (XYZ files are in angstrom).",
            )
    return [Variation(frame, None, "trajectory", 0, index) for index, frame in enumerate(frames)]


def _random(seed: int, name: str, kind: Kind, k: int, index: int) -> np.random.Generator:
    """The random generator of one draw."""
    key = hashlib.sha256(f"{seed}\n{name}\n{kind}\n{k}\n{index}".encode()).digest()
    return np.random.default_rng(np.frombuffer(key, dtype=np.uint32).tolist())


def _displaced(molecule: Molecule, k: int, index: int, seed: int) -> Variation:
    random = _random(seed, molecule.name, "displaced", k, index)
    x = molecule.geometry.positions
    atoms = len(x)
    limit = np.maximum(CLASH * _radii_sum(molecule.geometry.symbols), NEAREST)

    def candidates() -> tuple[FloatArray, FloatArray | None]:
        chosen = random.random((_CANDIDATES, atoms)).argsort(axis=1)[:, :k]
        moved = np.zeros((_CANDIDATES, atoms), dtype=bool)
        np.put_along_axis(moved, chosen, values=True, axis=1)
        direction = random.normal(size=(_CANDIDATES, atoms, 3))
        direction /= np.linalg.norm(direction, axis=2, keepdims=True)
        length = REACH * random.random((_CANDIDATES, atoms, 1)) * moved[..., None]
        return x + length * direction, None

    def free(drawn: FloatArray) -> BoolArray:
        # The distance of two atoms that are not displaced is not checked.
        moved = (drawn != x).any(axis=2)
        matters = moved[:, :, None] | moved[:, None, :]
        return np.asarray(~((_distances(drawn) < limit) & matters).any(axis=(1, 2)))

    positions, _ = _first(candidates, free, molecule, f"displaced-{k}-{index}")
    centred = _about_centre(positions, molecule.masses)
    geometry = Geometry(molecule.geometry.symbols, centred, comment=molecule.name)
    return Variation(geometry, None, "displaced", k, index)


def _vibrating(
    molecule: Molecule, kind: Kind, draws: int, temperature_k: float, seed: int
) -> list[Variation]:
    if not draws:
        return []
    modes = molecule.modes()
    if modes is None:
        raise UsageError(
            f"the vibrations of {molecule.name} are not known",
            do="Use displaced structures, or a molecule of `molexa molecules`.",
        )
    modes = modes.stiffened()
    symbols, x = molecule.geometry.symbols, molecule.geometry.positions
    limit = HARD * _radii_sum(symbols)

    def free(drawn: FloatArray) -> BoolArray:
        return np.asarray(~(_distances(drawn) < limit).any(axis=(1, 2)))

    found = []
    for index in range(draws):
        random = _random(seed, molecule.name, kind, 0, index)
        draw = partial(sample_wigner, x, modes, _CANDIDATES, random, temperature_k)
        positions, velocities = _first(draw, free, molecule, f"{kind}-{index}")
        centred = _about_centre(positions, molecule.masses)
        geometry = Geometry(symbols, centred, comment=molecule.name)
        found.append(Variation(geometry, velocities, kind, 0, index))
    return found


def _first(
    candidates: Callable[[], tuple[FloatArray, FloatArray | None]],
    free: Callable[[FloatArray], BoolArray],
    molecule: Molecule,
    label: str,
) -> tuple[FloatArray, FloatArray | None]:
    """The first candidate without contacts, with its velocities."""
    for _ in range(_TRIES):
        positions, velocities = candidates()
        kept = np.flatnonzero(free(positions))
        if len(kept):
            row = kept[0]
            return positions[row], None if velocities is None else velocities[row]
    raise ComputationError(
        f"no structure without contacts was found for {label} of {molecule.name}",
        do="Leave this kind of variation out for this molecule.",
    )


def _distances(positions: FloatArray) -> FloatArray:
    """(n, atoms, atoms) distances, infinite on the diagonal."""
    difference = positions[:, :, None] - positions[:, None]
    distance: FloatArray = np.linalg.norm(difference, axis=-1)
    distance[:, np.arange(positions.shape[1]), np.arange(positions.shape[1])] = np.inf
    return distance


def _radii_sum(symbols: Sequence[str]) -> FloatArray:
    """(atoms, atoms) sums of covalent radii, bohr."""
    radius = np.array([element(symbol).covalent_radius_angstrom for symbol in symbols])
    sums: FloatArray = (radius[:, None] + radius) / BOHR_ANGSTROM
    return sums


def _about_centre(positions: FloatArray, masses: FloatArray) -> FloatArray:
    shifted: FloatArray = positions - masses @ positions / masses.sum()
    return shifted
