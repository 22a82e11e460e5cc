"""Pairs of geometry and X-ray pulse for a training, exploded by the Monte-Carlo model.

Every pair has a pulse and switches of its own. In a block all molecules have the same number of
atoms, and either stay in their geometry or vibrate about it; of vibrating ones, momenta are
averaged in frames of every event, as measured runs are. A block is a function of recipe and number
alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import DALTON_ME
from molexa_core.network.conditions import DATA_KINDS
from molexa_core.physics.mcmd.gpu.launch import batches, device_index
from molexa_core.physics.mcmd.mixed_entries import Combinations, combinations_of
from molexa_core.physics.mcmd.mixed_job import MixedJob, prepare_mixed, run_mixed_on_cpu
from molexa_core.physics.mcmd.photon_tables import ELEMENTS_OF_TABLES, PhotonTables
from molexa_core.physics.molecules.library import molecule, molecule_names
from molexa_core.pipeline.datasets.family_draws import (
    Box,
    DrawnGeometries,
    DrawnSettings,
    draw_geometries,
    draw_settings,
)
from molexa_core.pipeline.datasets.measurement_split import SHARE, molecules_of
from molexa_core.pipeline.datasets.splits import hashed
from molexa_core.pipeline.training.event_frames import axes, other_ions, turned, usual_ions
from molexa_core.pipeline.training.stream_entries import (
    XRAY,
    StreamEntries,
    together,
    values_of,
)

TOGETHER: Final = 128
"""Explosions of one vibrating geometry: the threads of a block of the GPU."""
CLUSTER_WIDTH: Final = 0.2
"""Vibration of clusters: standard deviation of an atom of 1 u, bohr."""
_APART: Final = 0.75
"""Vibrating atoms stay at this share, or more, of their distances in the geometry."""


@dataclass(frozen=True)
class PairRecipe:
    """What blocks of pairs are made of.

    Attributes:
        seed: of all draws.
        held_out: molecules that are held out for the measurement, the others, or (None) all.
        share: of the molecules that are held out.
        box: ranges of the settings.
        trajectories: explosions of a pair, by number of atoms; multiples of 128.
        explosions: explosions of a block.
        atoms: how often blocks have each number of atoms.
        vibrating: share of the blocks whose molecules vibrate.
        least_count: smallest count of a combination.
        most: largest number of combinations of a pair.
        rarity: exponent of the weights by which they are drawn.
        events: share of the combinations of which a single event is an entry, too.
        random_share: share of random clusters.
        elements: of the molecules.
    """

    seed: int = 0
    held_out: bool | None = False
    share: float = SHARE
    box: Box = field(default_factory=Box)
    trajectories: dict[int, int] = field(
        default_factory=lambda: (
            {2: 2048, 3: 4096}
            | dict.fromkeys(range(4, 8), 6144)
            | dict.fromkeys(range(8, 15), 8192)
        )
    )
    explosions: int = 2**21
    atoms: dict[int, float] = field(
        default_factory=lambda: (
            {2: 1.5, 3: 2.5, 4: 3.0, 5: 3.0, 6: 3.0, 7: 3.0} | {8: 2.5, 9: 2.5, 10: 1.0}
        )
    )
    vibrating: float = 0.4
    least_count: int = 8
    most: int = 6
    rarity: float = 0.5
    events: float = 0.3
    random_share: float = 0.15
    elements: tuple[str, ...] = ELEMENTS_OF_TABLES

    def __post_init__(self) -> None:
        if any(count % TOGETHER for count in self.trajectories.values()):
            raise UsageError(f"explosions of a pair are no multiple of {TOGETHER}")

    @property
    def largest(self) -> int:
        """Largest number of atoms."""
        return max(self.atoms)

    def pairs(self, atoms: int) -> int:
        """Pairs of a block with this number of atoms."""
        return max(1, self.explosions // self.trajectories[atoms])

    @property
    def most_entries(self) -> int:
        """Largest number of entries of a block."""
        pairs = max(self.pairs(atoms) for atoms in self.atoms)
        return pairs * (self.most + math.ceil(self.most * self.events))


@dataclass(frozen=True)
class PreparedPairs:
    """A block before its explosions.

    Attributes:
        job: its trajectories, without the atomic tables; g * v geometries.
        drawn: (g) geometries.
        settings: (g) pulses and switches.
        vibrations: v, vibrating geometries of each pair; 1 if they stay as they are.
        number: of the block.
        vibrates: whether molecules vibrate, so that events are turned into frames of their own.
    """

    job: MixedJob
    drawn: DrawnGeometries
    settings: FloatArray
    vibrations: int
    number: int
    vibrates: bool


def prepare_pairs(
    recipe: PairRecipe, number: int, tables: PhotonTables, *, alike: int = 1
) -> PreparedPairs:
    """Draw geometries, pulses and vibrations of a block.

    Args:
        recipe: what the block is made of.
        number: of the block.
        tables: atomic tables.
        alike: so many blocks one after the other have molecules of one size. Processes that train
            together wait for each other, so that what they explode should take the same time.
    """
    common = hashed(recipe.seed, "sizes of pairs", recipe.held_out, number // alike)
    random = np.random.default_rng(np.frombuffer(common, dtype=np.uint32).tolist())
    sizes = sorted(recipe.atoms)
    weights = np.array([recipe.atoms[n] for n in sizes])
    atoms = int(random.choice(sizes, p=weights / weights.sum()))
    vibrates = bool(random.random() < recipe.vibrating)
    key = hashed(recipe.seed, "pairs", recipe.held_out, number)
    random = np.random.default_rng(np.frombuffer(key, dtype=np.uint32).tolist())
    drawn = draw_geometries(
        random,
        atoms,
        recipe.pairs(atoms),
        "train",
        random_share=recipe.random_share,
        elements=recipe.elements,
        names=molecules_of(
            atoms, held_out=recipe.held_out, elements=recipe.elements, share=recipe.share
        ),
    )
    least = min(recipe.least_count / recipe.trajectories[atoms], 0.5)
    settings = draw_settings(random, drawn.numbers, tables, recipe.box, least_share=least)
    return assembled(
        drawn,
        settings,
        tables,
        random,
        trajectories=recipe.trajectories[atoms],
        vibrates=vibrates,
        number=number,
        seed=int.from_bytes(key[:8], "little") >> 1,
    )


def assembled(
    drawn: DrawnGeometries,
    settings: DrawnSettings,
    tables: PhotonTables,
    random: np.random.Generator,
    *,
    trajectories: int,
    vibrates: bool,
    number: int,
    seed: int,
) -> PreparedPairs:
    """A block from its geometries and settings; the longest pulses come first.

    A launch of the GPU ends when its last block of threads does.
    """
    order = np.argsort(-settings.columns[:, 2], kind="stable")
    drawn = replace(
        drawn,
        numbers=drawn.numbers[order],
        positions=drawn.positions[order],
        molecule=drawn.molecule[order],
    )
    job = prepare_mixed(
        drawn.numbers,
        drawn.positions,
        [settings.pulses[row] for row in order],
        [settings.options[row] for row in order],
        tables,
        trajectories=trajectories,
        seed=seed,
    )
    vibrations = trajectories // TOGETHER if vibrates else 1
    if vibrates:
        moved = vibrating(random, drawn, vibrations)
        rows = np.repeat(np.arange(len(order)), vibrations)
        job = replace(
            job,
            start=job.start[rows],
            mass=job.mass[rows],
            positions=np.ascontiguousarray(moved.reshape(-1, *moved.shape[2:])),
            velocities=np.zeros((len(rows), *moved.shape[2:])),
            settings=job.settings[rows],
            trajectories=TOGETHER,
        )
    return PreparedPairs(job, drawn, settings.columns[order], vibrations, number, vibrates)


def vibrating(random: np.random.Generator, drawn: DrawnGeometries, count: int) -> FloatArray:
    """(g, count, n, 3) geometries of molecules in the vibrational ground state, bohr.

    The modes are those of the molecule at rest; clusters vibrate as if every atom were bound alike.
    A draw in which two atoms come much closer is replaced by the geometry itself.
    """
    n = drawn.numbers.shape[1]
    found = np.repeat(drawn.positions[:, None], count, axis=1)
    for number in np.unique(drawn.molecule):
        rows = np.flatnonzero(drawn.molecule == number)
        roots = _displacements(int(number)) if number >= 0 else None
        if roots is None:
            mass = np.vectorize(lambda z: BY_NUMBER[int(z)].isotope_mass)(drawn.numbers[rows])
            width = CLUSTER_WIDTH * np.sqrt(DALTON_ME / mass)
            found[rows] += random.normal(size=(len(rows), count, n, 3)) * width[:, None, :, None]
        else:
            normal = random.normal(size=(len(rows), count, len(roots)))
            found[rows] += np.einsum("gcm,mnx->gcnx", normal, roots)
    one, other = np.triu_indices(n, 1)
    before = np.linalg.norm(drawn.positions[:, one] - drawn.positions[:, other], axis=-1)
    now = np.linalg.norm(found[:, :, one] - found[:, :, other], axis=-1)
    close = (now < np.minimum(_APART, 1.0) * before[:, None]).any(axis=2)
    close &= (now < 1.2).any(axis=2) | (now < 0.5 * before[:, None]).any(axis=2)
    free: FloatArray = np.where(close[..., None, None], drawn.positions[:, None], found)
    return free


@lru_cache(maxsize=2048)
def _displacements(number: int) -> FloatArray | None:
    """(modes, n, 3) displacement of each mode by its standard deviation, bohr; None if unknown."""
    modes = molecule(molecule_names()[number]).modes()
    if modes is None:
        return None
    modes = modes.stiffened()
    return np.asarray(modes.displacement * np.sqrt(modes.variance)[:, None, None])


def explode_pairs(
    recipe: PairRecipe,
    block: PreparedPairs,
    tables: PhotonTables,
    *,
    device: str,
    workers: int = 1,
    progress: Progress = SILENT,
) -> StreamEntries:
    """The entries of a block, on its device, padded to the largest molecules of the recipe.

    Args:
        recipe: what the block is made of.
        block: as it was prepared.
        tables: atomic tables.
        device: `cpu`, or a GPU.
        workers: threads on a CPU.
        progress: display of the progress.

    Raises:
        ComputationError: the explosions of a pair do not fit into the memory of the GPU.
    """
    job = replace(block.job, tables=tables)
    each = job.trajectories * block.vibrations
    index = device_index(device)
    n = job.positions.shape[1]
    if index is None:
        run = run_mixed_on_cpu(job, workers=workers)
        return _entries(
            recipe,
            block,
            torch.from_numpy(run.charges.reshape(-1, n)),
            torch.from_numpy(run.momenta.reshape(-1, n, 3)),
            torch.from_numpy(run.lost.reshape(-1)),
            0,
        )
    parts = []
    for batch in batches(job, index, whole_geometries=True, progress=progress):
        if len(batch) % each or batch.begin % each:
            raise ComputationError(
                f"the explosions of a block do not fit into GPU {index}",
                do="Choose fewer explosions of a block.",
            )
        first = batch.begin // each
        parts.append(_entries(recipe, block, batch.charges, batch.momenta, batch.lost, first))
    return parts[0] if len(parts) == 1 else together(parts)


def _entries(
    recipe: PairRecipe,
    block: PreparedPairs,
    charges: Tensor,
    momenta: Tensor,
    lost: Tensor,
    first: int,
) -> StreamEntries:
    """Means and single events of the pairs from `first` on."""
    each = block.job.trajectories * block.vibrations
    device = charges.device
    generator = torch.Generator(device).manual_seed((block.job.seed + first) % 2**62)
    found = combinations_of(
        charges,
        lost,
        geometries=len(lost) // each,
        least=recipe.least_count,
        most=recipe.most,
        rarity=recipe.rarity,
        seed=block.job.seed,
        first=first,
    )
    p = momenta[found.trajectory]
    mean, _, error = found.means(p)
    rest = torch.from_numpy(block.drawn.positions).float()[found.geometry.cpu()].to(device)
    kind = "still"
    if block.vibrates and len(mean):
        numbers = torch.from_numpy(block.drawn.numbers)[found.geometry.cpu()].to(device)
        chosen = other_ions(*usual_ions(numbers, mean), p.shape[1], generator)
        reference, second = chosen
        # The structure is turned as the molecule at rest would be by its own mean momenta.
        rest = torch.einsum("mxc,mnc->mnx", axes(mean, reference, second), rest)
        own = axes(p, reference[found.row], second[found.row])
        mean, _, error = found.means(turned(p, own))
        kind = "mean"
    means = _packed(recipe, block, found, rest, mean, error, found.count.float(), kind)
    if recipe.events <= 0.0 or not len(mean):
        return means
    row, trajectory = _one_of_each(found, recipe.events, generator)
    place = trajectory // block.job.trajectories + first * block.vibrations
    there = torch.from_numpy(block.job.positions).float()[place.cpu()].to(device)
    alone = replace(
        found,
        geometry=found.geometry[row],
        charges=found.charges[row],
        count=found.count[row],
        trajectories=found.trajectories[row],
    )
    single = momenta[trajectory]
    zero = torch.zeros_like(single)
    ones = torch.ones(len(row), device=device)
    return together([means, _packed(recipe, block, alone, there, single, zero, ones, "event")])


def _one_of_each(
    found: Combinations, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A random trajectory of a share of the combinations: [e] their rows, and its number."""
    device = found.row.device
    order = (
        found.row.double() + torch.rand(len(found.row), device=device, generator=generator).double()
    ).argsort()
    rows = found.row[order]
    start = torch.ones(len(rows), dtype=torch.bool, device=device)
    start[1:] = rows[1:] != rows[:-1]
    chosen = order[start]
    kept = torch.rand(len(chosen), device=device, generator=generator) < share
    return found.row[chosen[kept]], found.trajectory[chosen[kept]]


def _packed(
    recipe: PairRecipe,
    block: PreparedPairs,
    found: Combinations,
    positions: Tensor,
    momenta: Tensor,
    errors: Tensor,
    count: Tensor,
    kind: str,
) -> StreamEntries:
    device, m = momenta.device, len(momenta)
    place = found.geometry.cpu()
    values, applies = _told_values(block.settings)

    def known(value: Any, dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(value)[place].to(device=device, dtype=dtype)

    choices = block.settings[:, [3, 5, 8]]
    positions = positions - positions.mean(1, keepdim=True)
    return StreamEntries(
        numbers=known(block.drawn.numbers, torch.int8),
        charges=found.charges,
        positions=positions.float(),
        momenta=momenta.float(),
        errors=errors.square().mean(2).sqrt().float(),
        count=count.float(),
        kind=torch.full((m,), XRAY, dtype=torch.int8, device=device),
        values=known(values, torch.float32),
        applies=known(applies, torch.bool),
        choices=known(choices, torch.int8),
        data=torch.full((m,), DATA_KINDS.index(kind), dtype=torch.int8, device=device),
        pair=known(np.arange(len(block.drawn.molecule)) + block.number * 2**20, torch.int64),
        molecule=known(block.drawn.molecule, torch.int64),
    ).padded(recipe.largest)


def _told_values(settings: FloatArray) -> tuple[Tensor, Tensor]:
    """Coordinates of what can be told of X-ray pulses, from columns of `draw_settings`."""
    return values_of(
        len(settings),
        {
            "photon_ev": np.exp(settings[:, 0]),
            "fluence_um2": np.exp(settings[:, 1]),
            "duration_fs": np.exp(settings[:, 2]),
            "transfer_time_fs": np.exp(settings[:, 4]),
            "shake_off": settings[:, 6],
            "double_auger": settings[:, 7],
        },
    )
