"""Geometries and settings of the family of X-ray explosions: what its entries are drawn from.

The geometry of a block is drawn from the shipped molecules and from random clusters (`SHARES`):

* `near`: around the equilibrium, each coordinate by a normal deviate whose width is log-uniform
  from 0.02 to 0.4 bohr for the molecule.
* `displaced`: the published protocol as in `physics.molecules.variations`, k of the N atoms moved
  by up to 3 bohr, k uniform in 1..N-1.
* `dissociating`: the molecule cut across a random direction into two parts, pulled apart by an
  exponential deviate (mean `PULLED`), and all atoms displaced by 0.1 bohr.
* `random`: clusters without chemistry (`physics.molecules.clusters`).

Settings are drawn in the box `Box`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import poisson

from molexa_core.base.errors import UsageError
from molexa_core.base.forward_model import ModelOptions, Pulse, Transfer
from molexa_core.base.matter.elements import BY_NUMBER, ELEMENTS
from molexa_core.base.tables import BoolArray, FloatArray
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.physics.mcmd.photon_tables import ELEMENTS_OF_TABLES, PhotonTables
from molexa_core.physics.molecules.clusters import ClusterSource, Mixture
from molexa_core.physics.molecules.library import molecule, molecule_names, molecules
from molexa_core.physics.molecules.variations import CLASH, HARD, NEAREST, REACH
from molexa_core.physics.surrogate.entries import RULES

FamilySplit = Literal["train", "held-out"]
SHARES: Final = {"near": 0.2, "displaced": 0.4, "dissociating": 0.2, "random": 0.2}
"""Shares of the kinds of geometries."""
NEAR: Final = (0.02, 0.4)
"""Range of the width of `near`, bohr."""
PULLED: Final = 2.5
"""Mean distance, bohr, by which the parts of a dissociating molecule are pulled apart."""
FARTHEST: Final = 12.0
"""Largest such distance."""
ATOMS: Final = (2, 9)
"""Smallest and largest number of atoms."""
LARGE_HELD_OUT: Final = (
    *("ethane", "ethanol", "propene", "acrolein", "acetic_acid", "urea", "thiophene"),
    *("chloroethane", "1,1-difluoroethane", "vinylsilane", "hexafluoroethane", "phosphoric_acid"),
)
"""Molecules of 8 and 9 atoms that are held out beside those of the library's split `held-out`."""
MOST_PER_PHOTON: Final = 5
"""Electrons that one photon can take from a molecule, with all decays that follow (a hole in the K
shell of chlorine loses four to six; two thirds of the atoms of a molecule are lighter)."""
_ROUNDS: Final = 200
_UM2: Final = (1e4 / BOHR_ANGSTROM) ** 2
"""Square micrometre in bohr^2."""


@dataclass(frozen=True)
class LeftOut:
    """A pulse whose neighbourhood is left out: all within these factors of its three numbers.

    Attributes:
        photon_ev, duration_fs, fluence_um2: the pulse.
        factors: of photon energy, duration and fluence.
    """

    photon_ev: float
    duration_fs: float
    fluence_um2: float
    factors: tuple[float, float, float] = (1.3, 1.4, 2.0)

    def near(
        self, photon_ev: FloatArray, duration_fs: FloatArray, fluence: FloatArray
    ) -> BoolArray:
        """Which of these pulses are in the neighbourhood."""
        found = np.ones(len(photon_ev), dtype=bool)
        for values, centre, factor in zip(
            (photon_ev, duration_fs, fluence),
            (self.photon_ev, self.duration_fs, self.fluence_um2),
            self.factors,
            strict=True,
        ):
            found &= np.abs(np.log(values / centre)) < np.log(factor)
        return found


@dataclass(frozen=True)
class Box:
    """Ranges of the settings.

    Attributes:
        fluence_um2: photons per um^2 on the axis, log-uniform.
        duration_fs: FWHM, log-uniform on `durations` values.
        transfer_time_fs: log-uniform; one in ten at once.
        shake_off_limit, double_auger_limit: largest probability; uniform, and zero in three of ten.
        durations: number of different durations: each has its own time steps.
        left_out: pulses whose neighbourhoods are left out.
        left_out_ev: photon energies that are left out.
    """

    fluence_um2: tuple[float, float] = (10.0**9.5, 10.0**13.5)
    duration_fs: tuple[float, float] = (1.0, 60.0)
    transfer_time_fs: tuple[float, float] = (0.2, 5.0)
    shake_off_limit: float = 0.2
    double_auger_limit: float = 0.15
    durations: int = 400
    left_out: tuple[LeftOut, ...] = ()
    left_out_ev: tuple[float, ...] = ()


def molecule_number(name: str) -> int:
    """The number of a shipped molecule in `FamilyEntries.molecule`; -1 is a random cluster."""
    return molecule_names().index(molecule(name).name)


@lru_cache(maxsize=32)
def family_molecules(
    atoms: int, split: FamilySplit, elements: tuple[str, ...] = ELEMENTS_OF_TABLES
) -> tuple[str, ...]:
    """Names of the molecules with this number of atoms that entries of a split are made of."""
    held = held_out_molecules()
    found = molecules(elements=elements, atoms=(atoms, atoms))
    return tuple(f.name for f in found if (f.name in held) == (split == "held-out"))


@lru_cache(maxsize=1)
def held_out_molecules() -> frozenset[str]:
    """Molecules that no surrogate is trained on, with all their isomers.

    Those of the split `held-out` of the library, `LARGE_HELD_OUT`, and their isomers.
    """
    chosen = {found.name for found in molecules(splits=["held-out"])} | set(LARGE_HELD_OUT)
    formulas = {molecule(name).formula for name in chosen}
    small = molecules(elements=ELEMENTS_OF_TABLES, atoms=ATOMS)
    return frozenset(found.name for found in small if found.formula in formulas)


@dataclass(frozen=True)
class DrawnGeometries:
    """g geometries of n atoms.

    Attributes:
        numbers: (g, n) atomic numbers.
        positions: (g, n, 3) bohr, about their mean.
        molecule: (g) number of the molecule, -1 for random clusters.
    """

    numbers: NDArray[np.int64]
    positions: FloatArray
    molecule: NDArray[np.int64]


def draw_geometries(
    random: np.random.Generator,
    atoms: int,
    count: int,
    split: FamilySplit,
    *,
    random_share: float | None = None,
    elements: tuple[str, ...] = ELEMENTS_OF_TABLES,
    names: tuple[str, ...] | None = None,
) -> DrawnGeometries:
    """Draw geometries of molecules with the same number of atoms.

    Args:
        random: random numbers.
        atoms: number of atoms.
        count: number of geometries.
        split: molecules for training, or those that are held out.
        random_share: share of random clusters, of all nine elements; that of `SHARES` by default.
        elements: the only elements of the molecules.
        names: the molecules, all with that number of atoms; those of the split if not given.

    Raises:
        UsageError: there is no such molecule, and not all are to be random clusters.
    """
    clusters = SHARES["random"] if random_share is None else random_share
    whole = sum(share for name, share in SHARES.items() if name != "random")
    share = [SHARES[name] / whole for name in ("near", "displaced")]
    kind = np.searchsorted(np.cumsum(share), random.random(count))
    kind[random.random(count) < clusters] = 3
    names = family_molecules(atoms, split, elements) if names is None else names
    if not names and clusters < 1.0:
        raise UsageError(f"no molecule of {atoms} atoms for the split {split}")
    known = _equilibria(names) if names else None
    which = random.integers(0, max(len(names), 1), count)
    numbers = np.zeros((count, atoms), dtype=np.int64)
    positions = np.zeros((count, atoms, 3))
    number = np.full(count, -1, dtype=np.int64)
    for place, draw in enumerate((_near, _displaced, _dissociating)):
        rows = np.flatnonzero(kind == place)
        if len(rows) and known is not None:
            chosen = which[rows]
            numbers[rows], number[rows] = known.numbers[chosen], known.molecule[chosen]
            positions[rows] = draw(random, known.positions[chosen], known.limits[chosen])
    rows = np.flatnonzero(kind >= 3)
    if len(rows):
        source = ClusterSource(Mixture(), "cpu", int(random.integers(2**62)))
        drawn = source.draw(len(rows), torch.full((len(rows),), atoms), atoms)
        numbers[rows], positions[rows] = drawn.numbers.numpy(), drawn.positions.double().numpy()
    positions -= positions.mean(axis=1, keepdims=True)
    # As the kernel and the entries hold them.
    return DrawnGeometries(numbers, positions.astype(np.float32).astype(np.float64), number)


@dataclass(frozen=True)
class _Equilibria:
    numbers: NDArray[np.int64]
    positions: FloatArray
    limits: FloatArray
    molecule: NDArray[np.int64]


@lru_cache(maxsize=2048)
def _equilibria(names: tuple[str, ...]) -> _Equilibria:
    found = [molecule(name).geometry for name in names]
    numbers = np.array([[ELEMENTS[symbol].number for symbol in g.symbols] for g in found])
    radii = np.vectorize(lambda z: BY_NUMBER[z].covalent_radius_angstrom / BOHR_ANGSTROM)(numbers)
    everything = molecule_names()
    return _Equilibria(
        numbers,
        np.array([g.positions for g in found]),
        radii[:, :, None] + radii[:, None, :],
        np.array([everything.index(name) for name in names]),
    )


def _near(random: np.random.Generator, x: FloatArray, sums: FloatArray) -> FloatArray:
    low, high = np.log(NEAR)
    width = np.exp(random.uniform(low, high, (len(x), 1, 1)))

    def draw(rows: NDArray[np.int64]) -> FloatArray:
        shifted: FloatArray = x[rows] + width[rows] * random.normal(size=x[rows].shape)
        return shifted

    return _until_free(draw, x, HARD * sums)


def _displaced(random: np.random.Generator, x: FloatArray, sums: FloatArray) -> FloatArray:
    n = x.shape[1]
    moved = random.integers(1, n, (len(x), 1)) if n > 1 else np.ones((len(x), 1), int)

    def draw(rows: NDArray[np.int64]) -> FloatArray:
        size = (len(rows), n)
        chosen = random.random(size).argsort(axis=1).argsort(axis=1) < moved[rows]
        length = REACH * random.random(size) * chosen
        shifted: FloatArray = x[rows] + length[..., None] * _directions(random, size)
        return shifted

    return _until_free(draw, x, np.maximum(CLASH * sums, NEAREST))


def _dissociating(random: np.random.Generator, x: FloatArray, sums: FloatArray) -> FloatArray:
    n = x.shape[1]

    def draw(rows: NDArray[np.int64]) -> FloatArray:
        here = x[rows] + 0.1 * random.normal(size=x[rows].shape)
        along = np.einsum("rni,ri->rn", here, _directions(random, (len(rows),)))
        cut = random.integers(1, n, (len(rows), 1))
        upper = along.argsort(axis=1).argsort(axis=1) >= cut
        weight = upper / upper.sum(1, keepdims=True) - ~upper / (~upper).sum(1, keepdims=True)
        axis = np.einsum("rn,rni->ri", weight, here)
        axis /= np.linalg.norm(axis, axis=1, keepdims=True) + 1e-12
        length = np.minimum(random.exponential(PULLED, len(rows)), FARTHEST)
        shifted: FloatArray = here + upper[..., None] * (length[:, None] * axis)[:, None]
        return shifted

    return _until_free(draw, x, np.maximum(HARD * sums, NEAREST))


def _directions(random: np.random.Generator, size: tuple[int, ...]) -> FloatArray:
    vector = random.normal(size=(*size, 3))
    unit: FloatArray = vector / np.linalg.norm(vector, axis=-1, keepdims=True)
    return unit


def _until_free(
    draw: Callable[[NDArray[np.int64]], FloatArray], x: FloatArray, limit: FloatArray
) -> FloatArray:
    """Draws repeated where atoms that moved are in contact; the last try counts as it is scaled.

    Distances that a draw does not shorten are allowed, however short: they are those of the
    molecule.
    """
    before = _distances(x)
    allowed = np.minimum(limit, (1.0 - 1e-9) * before)
    found = np.empty_like(x)
    todo = np.arange(len(x))
    for _ in range(_ROUNDS):
        drawn = draw(todo)
        good = ~(_distances(drawn) < allowed[todo]).any(axis=(1, 2))
        found[todo[good]] = drawn[good]
        todo = todo[~good]
        if not len(todo):
            break
    found[todo] = x[todo]  # none was found: the molecule as it is
    return found


def _distances(x: FloatArray) -> FloatArray:
    """(g, n, n) distances, infinite on the diagonal."""
    distance: FloatArray = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)
    distance[:, np.arange(x.shape[1]), np.arange(x.shape[1])] = np.inf
    return distance


@dataclass(frozen=True)
class DrawnSettings:
    """g settings.

    Attributes:
        pulses: (g) pulses.
        options: (g) switches of the model.
        columns: (g, 9) as in `FamilyEntries.settings`.
    """

    pulses: tuple[Pulse, ...]
    options: tuple[ModelOptions, ...]
    columns: FloatArray


def draw_settings(
    random: np.random.Generator,
    numbers: NDArray[np.int64],
    tables: PhotonTables,
    box: Box,
    *,
    least_share: float = 0.0,
) -> DrawnSettings:
    """Draw a setting for each geometry.

    Args:
        random: random numbers.
        numbers: (g, n) atomic numbers.
        tables: photon energies are uniform among those of the tables.
        box: ranges.
        least_share: photon energy and fluence are drawn again while fewer than this share of the
            molecules can lose an electron from every atom: a photon takes at most
            `MOST_PER_PHOTON` electrons.
    """
    g, n = numbers.shape
    energy, fluence = np.zeros(g, dtype=np.int64), np.zeros(g)
    cross_section = tables.cross_section()
    needed = math.ceil(n / MOST_PER_PHOTON)
    allowed = np.flatnonzero(~np.isin(tables.photon_ev, box.left_out_ev))
    todo = np.arange(g)
    for _ in range(_ROUNDS):
        energy[todo] = allowed[random.integers(0, len(allowed), len(todo))]
        fluence[todo] = _log_uniform(random, box.fluence_um2, len(todo))
        seen = cross_section[energy[todo, None], numbers[todo]].sum(1)
        photons = seen * fluence[todo] / _UM2
        todo = todo[poisson.sf(needed - 1, photons) < least_share]
        if not len(todo):
            break
    times = np.geomspace(*box.duration_fs, box.durations)
    duration = times[random.integers(0, box.durations, g)]
    for _ in range(_ROUNDS if box.left_out else 0):
        near = [one.near(tables.photon_ev[energy], duration, fluence) for one in box.left_out]
        again = np.flatnonzero(np.any(near, axis=0))
        if not len(again):
            break
        duration[again] = times[random.integers(0, box.durations, len(again))]
    rule = np.asarray(random.integers(0, len(RULES), g), dtype=np.int64)
    transfer = _log_uniform(random, box.transfer_time_fs, g)
    transfer[random.random(g) < 0.1] = 0.0
    recapture: BoolArray = np.asarray(random.random(g) < 0.5)
    volume: BoolArray = np.asarray(random.random(g) < 0.4)
    shake, auger = (
        np.where(random.random(g) < 0.3, 0.0, random.uniform(0.0, highest, g))
        for highest in (box.shake_off_limit, box.double_auger_limit)
    )
    photon = tables.photon_ev[energy]
    names: list[Transfer] = [RULES[number] for number in rule]
    pulses = tuple(
        Pulse(photon_ev=float(e), duration_fs=float(d), fluence_um2=float(f))
        for e, d, f in zip(photon, duration, fluence, strict=True)
    )
    options = tuple(
        ModelOptions(
            transfer=names[row],
            transfer_time_fs=float(transfer[row]),
            recapture=bool(recapture[row]),
            double_auger=float(auger[row]),
            shake_off=float(shake[row]),
            focus="volume" if volume[row] else "axis",
        )
        for row in range(g)
    )
    with np.errstate(divide="ignore"):
        logs = [np.log(values) for values in (photon, fluence, duration)]
        columns = np.stack(
            [*logs, rule, np.log(transfer), recapture, shake, auger, volume], axis=1
        ).astype(np.float64)
    return DrawnSettings(pulses, options, columns)


def _log_uniform(random: np.random.Generator, ends: tuple[float, float], count: int) -> FloatArray:
    drawn: FloatArray = np.exp(random.uniform(np.log(ends[0]), np.log(ends[1]), count))
    return drawn
