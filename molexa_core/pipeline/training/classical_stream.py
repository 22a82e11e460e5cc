"""Explosions of point charges for a training that is told the explosion, fresh all the time.

The families of `physics.family` with their priors: charges that rise, strong lasers, impact of
ions; and the exact models of simulations. What a family leaves open (differences between atoms,
the push of a collision, displacements) is drawn for every entry, so that it is part of what the
network marginalises. A block is a function of recipe and number alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from molexa_core.base.belief import Belief
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.tables import FloatArray
from molexa_core.network.conditions import DATA_KINDS, KINDS
from molexa_core.physics.coulomb.follow import Directions
from molexa_core.physics.family.build_up_family import BUILD_UP_PRIOR, BuildUpFamily
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.family.ion_impact import ION_IMPACT_PRIOR, IonImpactFamily
from molexa_core.physics.family.laser_family import LaserFamily, laser_prior
from molexa_core.physics.mcmd.photon_tables import ELEMENTS_OF_TABLES
from molexa_core.pipeline.datasets.family_draws import DrawnGeometries, draw_geometries
from molexa_core.pipeline.datasets.measurement_split import SHARE, molecules_of
from molexa_core.pipeline.datasets.splits import hashed
from molexa_core.pipeline.training.event_frames import axes, other_ions, turned, usual_ions
from molexa_core.pipeline.training.stream_entries import StreamEntries, together, values_of
from molexa_core.pipeline.training.xray_pairs import vibrating

KIND_SHARES: Final = {"build_up": 0.4, "laser": 0.3, "ion": 0.1, "classical": 0.12, "instant": 0.08}
"""Shares of the kinds of explosions."""
DATA_SHARES: Final = {"still": 0.35, "mean": 0.4, "event": 0.25}
"""Shares of means over one geometry, of means over vibrating molecules, and of single events."""
VIBRATIONS: Final = (12, 24, 24, 96)
"""Numbers of vibrating geometries behind a mean, one of these."""
LASER_FS: Final = (4.0, 250.0)
TAU_FS: Final = (1.0, 400.0)
"""Ranges of what is told of lasers and of exact rises; log-uniform."""
HIGHEST_CHARGE: Final = (1, 2, 3, 4, 6)
"""Charges of a molecule are up to one of these, and at most those of the nuclei."""
ALL_ONE: Final = 0.2
"""Share of molecules with all charges 1, beside those whose highest charge is 1."""
COUNTS: Final = (20.0, 20_000.0)
"""Range of the number of events behind a mean."""


@dataclass(frozen=True)
class ClassicalRecipe:
    """What blocks of classical explosions are made of.

    Attributes:
        seed: of all draws.
        held_out: molecules that are held out for the measurement, the others, or (None) all.
        share: of the molecules that are held out.
        entries: entries of a block.
        chunk: entries of the same molecule.
        atoms: how often molecules have each number of atoms.
        random_share: share of random clusters.
        elements: of the molecules.
        kinds: shares of the kinds of explosions.
    """

    seed: int = 0
    held_out: bool | None = False
    share: float = SHARE
    entries: int = 1024
    chunk: int = 16
    atoms: dict[int, float] = field(
        default_factory=lambda: (
            {2: 1.5, 3: 2.5, 4: 3.0, 5: 3.0, 6: 3.0, 7: 3.0} | {8: 2.5, 9: 2.5, 10: 1.0}
        )
    )
    random_share: float = 0.25
    elements: tuple[str, ...] = ELEMENTS_OF_TABLES
    kinds: dict[str, float] = field(default_factory=lambda: dict(KIND_SHARES))

    @property
    def largest(self) -> int:
        """Largest number of atoms."""
        return max(self.atoms)


def classical_block(recipe: ClassicalRecipe, number: int) -> StreamEntries:
    """The entries of a block, padded to the largest molecules of the recipe."""
    key = hashed(recipe.seed, "classical", recipe.held_out, number)
    random = np.random.default_rng(np.frombuffer(key, dtype=np.uint32).tolist())
    generator = torch.Generator().manual_seed(int.from_bytes(key[:7], "little"))
    parts: list[StreamEntries] = []
    made = 0
    for chunk in _chunks(recipe, random):
        part = _exploded(recipe, chunk, random, generator)
        parts.append(part)
        made += len(part)
        if made >= recipe.entries:
            break
    return together(parts).taken(slice(0, recipe.entries))


@dataclass(frozen=True)
class _Chunk:
    """Geometries of one molecule, and how they explode."""

    drawn: DrawnGeometries
    kind: str
    data: str


def _chunks(recipe: ClassicalRecipe, random: np.random.Generator) -> Iterator[_Chunk]:
    """Molecules without end."""
    sizes = sorted(recipe.atoms)
    weights = np.array([recipe.atoms[n] for n in sizes])
    kinds, shares = list(recipe.kinds), np.array(list(recipe.kinds.values()))
    data, parts = list(DATA_SHARES), np.array(list(DATA_SHARES.values()))
    while True:
        atoms = int(random.choice(sizes, p=weights / weights.sum()))
        cluster = random.random() < recipe.random_share
        names = molecules_of(
            atoms, held_out=recipe.held_out, elements=recipe.elements, share=recipe.share
        )
        one = (names[int(random.integers(len(names)))],) if names else ()
        count = 1 if cluster else recipe.chunk
        drawn = draw_geometries(
            random, atoms, count, "train", random_share=1.0 if cluster else 0.0, names=one
        )
        if cluster and not set(drawn.numbers[0]) <= _numbers(recipe.elements):
            continue
        yield _Chunk(
            _copied(random, drawn, recipe.chunk) if cluster else drawn,
            str(random.choice(kinds, p=shares / shares.sum())),
            str(random.choice(data, p=parts / parts.sum())),
        )


def _numbers(elements: tuple[str, ...]) -> set[int]:
    return {z for z, one in BY_NUMBER.items() if one.symbol in elements}


def _copied(random: np.random.Generator, drawn: DrawnGeometries, count: int) -> DrawnGeometries:
    """A cluster several times, a little different each time."""
    shape = (count, *drawn.positions.shape[1:])
    width = np.exp(random.uniform(math.log(0.02), math.log(0.3), (count, 1, 1)))
    return DrawnGeometries(
        np.repeat(drawn.numbers, count, axis=0),
        drawn.positions + width * random.normal(size=shape),
        np.repeat(drawn.molecule, count),
    )


def _exploded(
    recipe: ClassicalRecipe,
    chunk: _Chunk,
    random: np.random.Generator,
    generator: torch.Generator,
) -> StreamEntries:
    drawn = chunk.drawn
    m, n = drawn.numbers.shape
    symbols = tuple(BY_NUMBER[int(z)].symbol for z in drawn.numbers[0])
    masses = np.array([BY_NUMBER[int(z)].isotope_mass for z in drawn.numbers[0]])
    charges = _charges(random, drawn.numbers[0])
    fragments = Fragments(symbols, charges.astype(float), masses - charges)
    count = int(random.choice(VIBRATIONS)) if chunk.data == "mean" else 1
    x = drawn.positions[:, None]
    if chunk.data != "still":
        x = vibrating(random, drawn, count)
    told, momenta = _FAMILIES[chunk.kind](random, fragments, x)
    values, applies = values_of(m, told)
    p = torch.from_numpy(momenta).float()
    rest = torch.from_numpy(x[:, 0] if chunk.data == "event" else drawn.positions).float()
    rest = rest - rest.mean(1, keepdim=True)
    errors, events = torch.zeros(m, n), torch.ones(m)
    if chunk.data == "mean":
        p, rest, errors, events = _averaged(drawn, p, rest, generator)
    else:
        p = p[:, 0]
    if chunk.data == "still":
        events = torch.from_numpy(_log_uniform(random, COUNTS, m)).float()
    good = p.isfinite().all(2).all(1) & (p.abs().amax((1, 2)) > 1e-3)
    found = StreamEntries(
        numbers=torch.from_numpy(drawn.numbers).to(torch.int8),
        charges=torch.from_numpy(np.broadcast_to(charges, (m, n)).copy()).to(torch.int8),
        positions=rest,
        momenta=p,
        errors=errors,
        count=events,
        kind=torch.full((m,), KINDS.index(chunk.kind), dtype=torch.int8),
        values=values,
        applies=applies,
        choices=torch.full((m, 3), -1, dtype=torch.int8),
        data=torch.full((m,), DATA_KINDS.index(chunk.data), dtype=torch.int8),
        pair=torch.full((m,), -1),
        molecule=torch.from_numpy(drawn.molecule.astype(np.int64)),
    )
    return found.taken(good).padded(recipe.largest)


def _charges(random: np.random.Generator, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n) charges of the ions."""
    highest = int(random.choice(HIGHEST_CHARGE))
    if random.random() < ALL_ONE:
        highest = 1
    # Two electrons stay in the K shell of all but hydrogen.
    most = np.maximum(np.where(numbers > 2, numbers - 2, numbers), 1)
    return np.asarray(np.minimum(random.integers(1, highest + 1, len(numbers)), most))


def _averaged(
    drawn: DrawnGeometries,
    p: torch.Tensor,
    rest: torch.Tensor,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Means over vibrations in frames of each event, as `xray_pairs` makes them.

    A run has more events than vibrations are drawn here; the statistical error that is left in
    the means is that of the drawn ones, and so is the count that is told.
    """
    m, count, n = p.shape[:3]
    mean = p.mean(1)
    numbers = torch.from_numpy(drawn.numbers)
    reference, second = other_ions(*usual_ions(numbers, mean), n, generator)
    flat = p.reshape(m * count, n, 3)
    own = axes(flat, reference.repeat_interleave(count), second.repeat_interleave(count))
    each = turned(flat, own).view(m, count, n, 3)
    rest = torch.einsum("mxc,mnc->mnx", axes(mean, reference, second), rest)
    errors = (each.var(1) / count).mean(2).sqrt()
    return each.mean(1), rest, errors, torch.full((m,), float(count))


def _rises(
    random: np.random.Generator, fragments: Fragments, x: FloatArray
) -> tuple[dict[str, FloatArray], FloatArray]:
    """Charges that rise with time."""
    family, m = BuildUpFamily(), len(x)
    parameters = BUILD_UP_PRIOR.draw(random, m)
    # Half of them in a wider range: what is told need not be near the prior.
    wide = random.random(m) < 0.5
    parameters[wide, 0] = np.log(_log_uniform(random, TAU_FS, int(wide.sum())))
    between = family.between_atoms(fragments, parameters)
    momenta = _with_differences(random, family, fragments, x, parameters, between)
    momenta = _unsure(random, momenta, family.smallest_error)
    return _of_rises(parameters), momenta


def _of_rises(parameters: FloatArray) -> dict[str, FloatArray]:
    return {
        "tau_fs": np.exp(parameters[:, 0]),
        "hydrogen_window": np.exp(parameters[:, 1]),
        "hydrogen_onset": parameters[:, 2],
    }


def _exact_rises(
    random: np.random.Generator, fragments: Fragments, x: FloatArray
) -> tuple[dict[str, FloatArray], FloatArray]:
    """The classical model of simulations: rises exactly as stated, hydrogens mostly alike."""
    m = len(x)
    parameters = np.zeros((m, 4))
    parameters[:, 0] = np.log(_log_uniform(random, TAU_FS, m))
    apart = random.random(m) < 0.2
    parameters[apart, 1] = random.normal(math.log(0.6), 0.5, int(apart.sum()))
    momenta = _follow(BuildUpFamily(), fragments, x, parameters)
    return _of_rises(parameters), momenta


def _laser(
    random: np.random.Generator, fragments: Fragments, x: FloatArray
) -> tuple[dict[str, FloatArray], FloatArray]:
    """A strong laser pulse."""
    family, m = LaserFamily(), len(x)
    duration = _log_uniform(random, LASER_FS, m)
    one, two = laser_prior(10.0), laser_prior(100.0)
    slope = (two.mean - one.mean) / math.log(10.0)
    centred = Belief(one.names, np.zeros(len(one.names)), one.covariance)
    parameters = centred.draw(random, m) + one.mean
    parameters += np.log(duration / 10.0)[:, None] * slope
    moved = family.displacement * duration / (duration + family.settling_fs)
    # One displacement of each atom, the same in all events of a run.
    x = x + (moved[:, None, None] * random.normal(size=(m, *x.shape[2:])))[:, None]
    between = family.between_atoms(fragments, parameters)
    momenta = _with_differences(random, family, fragments, x, parameters, between)
    return {"laser_duration_fs": duration}, _unsure(random, momenta, family.smallest_error)


def _ion(
    random: np.random.Generator, fragments: Fragments, x: FloatArray
) -> tuple[dict[str, FloatArray], FloatArray]:
    """Impact of an ion: charges at once, and the push of a collision."""
    family, (m, count, n) = IonImpactFamily(), x.shape[:3]
    parameters = ION_IMPACT_PRIOR.draw(random, m)
    rows = np.repeat(parameters, count, axis=0)
    flat = x.reshape(m * count, n, 3)
    momenta, changes = family.follow(fragments, flat, rows, by_kicks=True)
    kick = random.normal(size=(m, n, 3)) * np.exp(parameters[:, :1, None]) / math.sqrt(3.0 * n)
    kick -= (fragments.masses / fragments.masses.sum())[:, None] * kick.sum(1, keepdims=True)
    each = np.repeat(kick, count, axis=0).reshape(m * count, 3 * n)
    pushed = np.einsum("rij,rj->ri", changes, each).reshape(m * count, n, 3)
    return {}, (momenta + pushed).reshape(x.shape)


def _instant(
    random: np.random.Generator, fragments: Fragments, x: FloatArray
) -> tuple[dict[str, FloatArray], FloatArray]:
    """All charges at once, exactly."""
    del random
    return {}, _follow(IonImpactFamily(), fragments, x, np.zeros((len(x), 2)))


_FAMILIES: Final = {
    "build_up": _rises,
    "laser": _laser,
    "ion": _ion,
    "classical": _exact_rises,
    "instant": _instant,
}


def _follow(
    family: BuildUpFamily | LaserFamily | IonImpactFamily,
    fragments: Fragments,
    x: FloatArray,
    parameters: FloatArray,
) -> FloatArray:
    """(m, count, n, 3) momenta of positions of that shape."""
    m, count, n = x.shape[:3]
    rows = np.repeat(parameters, count, axis=0)
    momenta, _ = family.follow(fragments, x.reshape(m * count, n, 3), rows)
    return momenta.reshape(x.shape)


def _with_differences(
    random: np.random.Generator,
    family: BuildUpFamily | LaserFamily,
    fragments: Fragments,
    x: FloatArray,
    parameters: FloatArray,
    between: Directions,
) -> FloatArray:
    """The same with differences between atoms, those of an entry being the same in all its events.

    They are drawn along all directions at once, so that one derivative suffices.
    """
    m, count, n = x.shape[:3]
    drawn = random.normal(size=(m, between.weights.shape[1]))
    weights = np.einsum("md,mdan->man", drawn, between.weights)[:, None]
    along = Directions(np.repeat(weights, count, axis=0), np.zeros((1, 1)))
    rows = np.repeat(parameters, count, axis=0)
    flat = x.reshape(m * count, n, 3)
    momenta, changes = family.follow(fragments, flat, rows, directions=along)
    return (momenta + changes[:, :, 0].reshape(momenta.shape)).reshape(x.shape)


def _unsure(random: np.random.Generator, momenta: FloatArray, share: float) -> FloatArray:
    """With the smallest error of a family: the same in all events of an entry, without a sum."""
    m, _, n = momenta.shape[:3]
    rms = np.sqrt(np.square(momenta).mean(axis=(1, 2, 3)) * n / (n - 1))
    error = share * rms[:, None, None] * random.normal(size=(m, n, 3))
    error -= error.mean(axis=1, keepdims=True)
    return np.asarray(momenta + error[:, None])


def _log_uniform(random: np.random.Generator, ends: tuple[float, float], count: int) -> FloatArray:
    return np.asarray(np.exp(random.uniform(math.log(ends[0]), math.log(ends[1]), count)))
