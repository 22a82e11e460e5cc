"""Explosions of known geometry for tests of posteriors: one entry per geometry, sizes apart.

Entries that differ only in the charges share their geometry, so that their ranks are not
independent: each geometry is exploded once, or one of its entries is chosen at random.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch

from molexa_core.base.errors import UsageError, listing
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.known_explosion import ClassicalExplosion, Kind, XrayExplosion
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.network.batch import Batch
from molexa_core.network.conditions import Told
from molexa_core.physics.family.family import ExplosionKnowledge, Fragments
from molexa_core.physics.mcmd.mixed_job import prepare_mixed
from molexa_core.physics.mcmd.photon_tables import (
    ELEMENTS_OF_TABLES,
    PhotonTables,
    pack_photon_tables,
)
from molexa_core.physics.molecules.library import molecules
from molexa_core.physics.surrogate.entries import FOCI, RULES, FamilyEntries
from molexa_core.pipeline.datasets.family_draws import (
    Box,
    DrawnGeometries,
    DrawnSettings,
    FamilySplit,
    draw_geometries,
    draw_settings,
)
from molexa_core.pipeline.datasets.family_entries import (
    SHARES_OF_ATOMS,
    TRAJECTORIES,
    FamilyRecipe,
    PreparedBlock,
    explode_block,
)
from molexa_core.pipeline.datasets.measurement_split import PULSES as PULSES_MEASURED
from molexa_core.pipeline.datasets.measurement_split import (
    measured_molecules,
    measurement_box,
    molecules_of,
)
from molexa_core.pipeline.evaluation.evaluation_sets import Explosions, entry_set, random_set
from molexa_core.pipeline.explosions.told_inputs import told_of
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.training.stage1 import StageOneData

FAMILY: Final = "family"
HELD_OUT: Final = "held-out-molecules"
PULSES: Final = "held-out-pulses"
PHYSICS: Final = "held-out-physics"
LEARNED: Final = "learned"
KINDS: Final = {
    FAMILY: "molecules of the library in new geometries, pulses and physics of the whole family",
    HELD_OUT: "molecules that no training had, pulses and physics of the whole family",
    PULSES: "molecules that no training had, in the neighbourhoods of four left-out pulses",
    PHYSICS: "molecules that no training had, transfers slower and of another rule than trained",
    LEARNED: "molecules that no training had, in the one pulse that weights learned",
}
"""Sets that are made by the Monte-Carlo model."""
LEFT_OUT: Final = tuple(one.pulse for one in PULSES_MEASURED if one.left_out)
"""Pulses in whose neighbourhood a training has nothing."""
NEIGHBOURHOOD: Final = 0.15
"""How far ln of fluence and duration reach about them."""
SLOW_TRANSFER: Final = (5.5, 10.0)
"""Transfer times in fs, all slower than those of the family."""
GEOMETRIES: Final = 64
"""Largest number of geometries that are followed together."""
Telling = Literal["everything", "pulse", "nothing"]
"""What a sampler is told of explosions by the Monte-Carlo model."""
_ROUNDS: Final = 40
_COMMON: Final = ("H", "C", "N", "O", "F", "S", "Cl")
_UM2: Final = (1e4 / BOHR_ANGSTROM) ** 2
"""Square micrometre in bohr^2."""


@dataclass(frozen=True)
class Population:
    """What explosions by the Monte-Carlo model are drawn from.

    Attributes:
        box: ranges of the settings.
        held_out: names of the molecules that the training left out; by
            `datasets.measurement_split` if not given.
        pulse, options: the one setting of the set `learned`.
        elements: the only elements of the molecules.
    """

    box: Box = field(default_factory=measurement_box)
    held_out: frozenset[str] | None = None
    pulse: Pulse | None = None
    options: ModelOptions = field(default_factory=ModelOptions)
    elements: tuple[str, ...] = ELEMENTS_OF_TABLES

    def names(self, atoms: int, *, held_out: bool) -> tuple[str, ...]:
        """Molecules of this size that were left out, or that were not."""
        held = measured_molecules() if self.held_out is None else self.held_out
        every = molecules_of(atoms, held_out=None, elements=self.elements)
        return tuple(name for name in every if (name in held) == held_out)


@dataclass(frozen=True)
class KnownExplosions:
    """B explosions of molecules with N atoms, all of different geometries.

    Attributes:
        numbers: (B, N) atomic numbers.
        charges: (B, N) elementary charges.
        masses: (B, N) of the neutral atoms, electron masses.
        momenta: (B, N, 3) a.u., in any frame.
        errors: (B, N, 3) standard errors of the momenta, zero where they are exact.
        positions: (B, N, 3) bohr.
        molecule: (B) number of the molecule; entries of one molecule are alike.
        settings: (B, 9) as `physics.surrogate.entries.SETTINGS`, not numbers where not known.
        tau_fs: (B) window within which charges rise, of explosions by the classical model.
    """

    numbers: IntArray
    charges: FloatArray
    masses: FloatArray
    momenta: FloatArray
    errors: FloatArray
    positions: FloatArray
    molecule: IntArray
    settings: FloatArray
    tau_fs: FloatArray | None = None

    def __len__(self) -> int:
        """Number of explosions."""
        return len(self.numbers)

    def rows(self, chosen: IntArray) -> KnownExplosions:
        """Some of them."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return KnownExplosions(**{name: value[chosen] for name, value in given.items()})

    def batch(self, device: str = "cpu") -> Batch:
        """As input of a network, without positions."""
        return Batch(
            numbers=torch.from_numpy(self.numbers.astype(np.int64)),
            charges=torch.from_numpy(self.charges.astype(np.float32)),
            masses=torch.from_numpy(self.masses.astype(np.float32)),
            momenta=torch.from_numpy(self.momenta.astype(np.float32)),
        ).to(device)

    def told(self, telling: Telling) -> Told:
        """What a network is told of them; of the pulse and physics of simulated ones all is known.

        Of explosions by the classical model the window of the rise is told, if it is known here.
        """
        kinds: list[Kind | None] = [told_kind(row, telling) for row in self.settings]
        if self.tau_fs is not None and telling != "nothing":
            kinds = [ClassicalExplosion(Uncertain(float(one))) for one in self.tau_fs]
        numbers = torch.from_numpy(self.numbers.astype(np.int64))
        errors = torch.from_numpy(np.sqrt((self.errors**2).mean(axis=2)))
        return told_of(kinds, numbers, data="still", errors=errors)

    def fragments(self, row: int) -> Fragments:
        """The ions of one explosion."""
        symbols = tuple(BY_NUMBER[int(number)].symbol for number in self.numbers[row])
        return Fragments(symbols, self.charges[row], self.masses[row] - self.charges[row])


def told_kind(settings: FloatArray, telling: Telling) -> XrayExplosion | None:
    """What is told of one explosion with the settings (9)."""
    if telling == "nothing" or not np.isfinite(settings[:3]).all():
        return None
    photon, fluence, duration = (Uncertain(float(one)) for one in np.exp(settings[:3]))
    pulse = XrayExplosion(photon_ev=photon, fluence_um2=fluence, duration_fs=duration)
    if telling == "pulse":
        return pulse
    rule, time = settings[3], np.exp(settings[4])
    return replace(
        pulse,
        transfer=RULES[int(rule)] if np.isfinite(rule) else None,
        transfer_time_fs=Uncertain(float(max(time, 0.01)) if np.isfinite(time) else 0.01),
        recapture=bool(settings[5]),
        shake_off=Uncertain(float(settings[6])),
        double_auger=Uncertain(float(settings[7])),
        focus=FOCI[int(settings[8])],
    )


Sizes = Mapping[int, KnownExplosions]
"""Explosions by number of atoms."""


def random_explosions(
    count: int, *, atoms: tuple[int, int], tau_fs: float, seed: int, device: str = "cpu"
) -> dict[int, KnownExplosions]:
    """Random molecules as in stage 1: `count` in all, all sizes alike."""
    sizes = atoms[1] - atoms[0] + 1
    data = StageOneData(smallest=atoms[0], largest=atoms[1], tau_fs=tau_fs)
    found = random_set(data, max(count // sizes, 1), seed=seed, device=device)
    # No two random molecules are alike.
    return {
        n: replace(
            _of_explosions(one, np.arange(len(one.batch))), tau_fs=np.full(len(one.batch), tau_fs)
        )
        for n, one in found.items()
    }


def stored_explosions(
    folder: Path | str, split: str, *, by: str, count: int, seed: int
) -> dict[int, KnownExplosions]:
    """One entry of each geometry of a data set, `count` at most.

    Raises:
        InputFileError: no such data set, or a damaged one.
        UsageError: the split has no entries.
    """
    random = np.random.default_rng(seed)
    sets = entry_set(folder, split, by=by)
    chosen: dict[int, IntArray] = {}
    for atoms, one in sorted(sets.items()):
        order = random.permutation(len(one.batch))
        _, first = np.unique(one.cluster[order], return_index=True)
        chosen[atoms] = order[first]
    every = np.concatenate([np.stack([np.full(len(r), n), r], 1) for n, r in chosen.items()])
    every = random.permutation(every)[:count]
    names = sorted({label for one in sets.values() for label in one.label})
    numbers = {name: place for place, name in enumerate(names)}
    found = {}
    for atoms in sorted({int(n) for n in every[:, 0]}):
        rows = np.sort(every[every[:, 0] == atoms, 1])
        molecule = np.array([numbers[label] for label in sets[atoms].label], dtype=np.int64)
        found[atoms] = _of_explosions(sets[atoms], molecule).rows(rows)
    return found


def _of_explosions(one: Explosions, molecule: IntArray) -> KnownExplosions:
    batch = one.batch
    if batch.positions is None:
        msg = "explosions of known geometry need positions"
        raise ValueError(msg)
    momenta = batch.momenta.double().cpu().numpy()
    return KnownExplosions(
        numbers=batch.numbers.cpu().numpy().astype(np.int64),
        charges=batch.charges.double().cpu().numpy(),
        masses=batch.masses.double().cpu().numpy(),
        momenta=momenta,
        errors=np.zeros_like(momenta),
        positions=batch.positions.double().cpu().numpy(),
        molecule=molecule,
        settings=np.full((len(momenta), 9), np.nan),
    )


def prior_explosions(
    count: int,
    knowledge: ExplosionKnowledge,
    *,
    atoms: tuple[int, int],
    error: float,
    seed: int,
) -> dict[int, KnownExplosions]:
    """Geometries of the prior of the inversion, exploded as is believed, with errors of momenta.

    The very distribution for which the posterior of the inversion is exact: what fails here is the
    drawing, not the model.

    Args:
        count: number of explosions.
        knowledge: families and what is known of their parameters.
        atoms: smallest and largest number of atoms.
        error: of each momentum component, share of their rms.
        seed: of all draws.
    """
    random = np.random.default_rng(seed)
    library = list(molecules(elements=_COMMON, atoms=atoms))
    weight = np.array([one.weight for one in knowledge.hypotheses])
    parts: dict[int, list[KnownExplosions]] = {}
    while sum(map(len, parts.values())) < count:
        number = int(random.integers(len(library)))
        fragments = _singly_charged(tuple(library[number].geometry.symbols), random)
        hypothesis = knowledge.hypotheses[random.choice(len(weight), p=weight / weight.sum())]
        x = GeometryPrior.of(fragments.symbols).draw(random, 1)
        parameters = hypothesis.belief.draw(random, 1)
        with np.errstate(all="ignore"):
            momenta = hypothesis.family.explode(fragments, x, parameters)
            left = hypothesis.family.error(fragments, x, parameters)[0]
        if not np.isfinite(momenta).all() or not np.isfinite(left).all():
            continue
        size, n = float(np.sqrt((momenta**2).mean())), len(fragments)
        covariance = left + (error * size) ** 2 * np.eye(3 * n)
        noise = random.multivariate_normal(np.zeros(3 * n), covariance, method="eigh")
        momenta = momenta + noise.reshape(1, n, 3)
        numbers = np.array([[_number(symbol) for symbol in fragments.symbols]])
        parts.setdefault(n, []).append(
            KnownExplosions(
                numbers=numbers,
                charges=fragments.charges[None],
                masses=(fragments.masses + fragments.charges)[None],
                momenta=momenta - momenta.mean(axis=1, keepdims=True),
                errors=np.full((1, n, 3), error * size),
                positions=x,
                molecule=np.array([number]),
                settings=np.full((1, 9), np.nan),
            )
        )
    return {n: _joined(some) for n, some in sorted(parts.items())}


def _singly_charged(symbols: tuple[str, ...], random: np.random.Generator) -> Fragments:
    """Ions of charge one, heavy ones in part of charge two."""
    numbers = np.array([_number(symbol) for symbol in symbols])
    twice: BoolArray = np.asarray((random.random(len(symbols)) < 0.4) & (numbers > 1))
    charges: FloatArray = np.where(twice, 2.0, 1.0)
    masses = np.array([BY_NUMBER[int(one)].isotope_mass for one in numbers])
    return Fragments(symbols, charges, masses - charges)


def _number(symbol: str) -> int:
    return next(number for number, one in BY_NUMBER.items() if one.symbol == symbol)


def family_explosions(
    kind: str,
    count: int,
    *,
    atoms: tuple[int, int],
    seed: int,
    device: str = "auto",
    trajectories: int | None = None,
    population: Population | None = None,
    tables: PhotonTables | None = None,
    progress: Progress = SILENT,
) -> dict[int, KnownExplosions]:
    """New explosions by the Monte-Carlo model, each geometry in a setting of its own.

    Of each geometry one combination of charges is taken, drawn as `FamilyRecipe` draws them; a
    geometry whose combinations are all rarer than its least count is drawn anew.

    Args:
        kind: one of `KINDS`.
        count: number of geometries.
        atoms: smallest and largest number of atoms; sizes are as frequent as in a training.
        seed: of all draws.
        device: `auto`, `cpu`, `cuda` or `cuda:0`.
        trajectories: explosions of a geometry; those of a training if not given.
        population: what they are drawn from; the whole family without what measurements leave out
            if not given.
        tables: atomic tables; from the cache if not given.
        progress: display of the progress.

    Raises:
        UsageError: no such kind, or no pulse for the set `learned`.
    """
    of = population or Population()
    if kind == LEARNED and of.pulse is None:
        raise UsageError(
            "the weights did not learn one pulse", do=f"Choose {FAMILY} or {HELD_OUT}."
        )
    if kind not in KINDS:
        raise UsageError(f"no set {kind!r}", do=f"There are {listing(KINDS)}.")
    known = tables or pack_photon_tables(progress=progress)
    sizes = [n for n in range(atoms[0], atoms[1] + 1) if n in SHARES_OF_ATOMS]
    share = np.array([SHARES_OF_ATOMS[n] for n in sizes])
    wanted = dict(zip(sizes, np.ceil(count * share / share.sum()).astype(int), strict=True))
    found: dict[int, KnownExplosions] = {}
    with progress.task(f"explosions: {kind}", float(sum(wanted.values())), "geometries") as task:
        for n, number in wanted.items():
            if not of.names(n, held_out=kind != FAMILY):
                continue
            parts: list[KnownExplosions] = []
            for round_ in range(_ROUNDS):
                here = sum(map(len, parts))
                if here >= number:
                    break
                missing = int(np.clip(1.2 * (number - here) + 4, 8, GEOMETRIES))
                recipe = _recipe(kind, n, seed, trajectories, missing)
                block = _block(kind, replace(recipe, box=of.box), n, round_, known, of)
                entries = explode_block(recipe, block, device, SILENT)
                fresh = one_of_each(entries, n, np.random.default_rng([seed, n, round_]))
                parts.append(fresh)
                task.advance(float(min(len(fresh), number - here)))
            if parts and sum(map(len, parts)):
                joined = _joined(parts)
                found[n] = joined.rows(np.arange(min(number, len(joined))))
    return found


def _recipe(
    kind: str, atoms: int, seed: int, trajectories: int | None, geometries: int
) -> FamilyRecipe:
    split: FamilySplit = "train" if kind == FAMILY else "held-out"
    each = TRAJECTORIES[atoms] if trajectories is None else trajectories
    return FamilyRecipe(
        seed=seed,
        split=split,
        trajectories=dict.fromkeys(TRAJECTORIES, each),
        explosions=each * geometries,
        least_count=8 if trajectories is None else max(2, min(8, each // 64)),
        random_share=None if kind == FAMILY else 0.0,
        atoms={atoms: 1.0},
    )


def _block(
    kind: str,
    recipe: FamilyRecipe,
    atoms: int,
    number: int,
    tables: PhotonTables,
    of: Population,
) -> PreparedBlock:
    random = np.random.default_rng([recipe.seed, atoms, number, sorted(KINDS).index(kind)])
    each = recipe.trajectories[atoms]
    drawn = draw_geometries(
        random,
        atoms,
        recipe.geometries(atoms),
        recipe.split,
        # Random clusters are of all elements.
        random_share=recipe.random_share if of.elements == ELEMENTS_OF_TABLES else 0.0,
        elements=of.elements,
        names=of.names(atoms, held_out=kind != FAMILY),
    )
    least = min(recipe.least_count / each, 0.5)
    settings = draw_settings(random, drawn.numbers, tables, recipe.box, least_share=least)
    if kind == PULSES:
        settings = _near_left_out(random, settings)
    elif kind == PHYSICS:
        settings = _other_physics(random, settings)
    elif kind == LEARNED and of.pulse is not None:
        settings = _one_setting(len(drawn.numbers), of.pulse, of.options)
    order = np.argsort(-settings.columns[:, 2], kind="stable")
    drawn = DrawnGeometries(drawn.numbers[order], drawn.positions[order], drawn.molecule[order])
    job = prepare_mixed(
        drawn.numbers,
        drawn.positions,
        [settings.pulses[row] for row in order],
        [settings.options[row] for row in order],
        tables,
        trajectories=each,
        seed=int(random.integers(2**62)),
    )
    return PreparedBlock(job, drawn, settings.columns[order], atoms, number)


def _near_left_out(random: np.random.Generator, settings: DrawnSettings) -> DrawnSettings:
    """The same switches in the neighbourhoods of the pulses that were left out."""
    chosen = random.integers(len(LEFT_OUT), size=len(settings.pulses))
    moved = random.uniform(-NEIGHBOURHOOD, NEIGHBOURHOOD, (len(chosen), 2))
    # Each duration has time steps of its own: a few do.
    moved[:, 1] = np.round(moved[:, 1] / NEIGHBOURHOOD * 4.0) / 4.0 * NEIGHBOURHOOD
    pulses = []
    columns = settings.columns.copy()
    for row, (number, (brighter, longer)) in enumerate(zip(chosen, moved, strict=True)):
        about = LEFT_OUT[number]
        pulse = Pulse(
            photon_ev=about.photon_ev,
            duration_fs=about.duration_fs * float(np.exp(longer)),
            fluence_um2=_per_um2(about) * float(np.exp(brighter)),
        )
        pulses.append(pulse)
        columns[row, :3] = np.log([pulse.photon_ev, _per_um2(pulse), pulse.duration_fs])
    return DrawnSettings(tuple(pulses), settings.options, columns)


def _one_setting(count: int, pulse: Pulse, options: ModelOptions) -> DrawnSettings:
    """The same pulse and switches for all."""
    rule = RULES.index(options.transfer) if options.transfer in RULES else math.nan
    time = options.transfer_time_fs
    row = [
        *np.log([pulse.photon_ev, _per_um2(pulse), pulse.duration_fs]),
        rule,
        math.log(time) if time > 0.0 else -math.inf,
        float(options.recapture),
        options.shake_off,
        options.double_auger,
        float(FOCI.index(options.focus)),
    ]
    return DrawnSettings((pulse,) * count, (options,) * count, np.tile(row, (count, 1)))


def _per_um2(pulse: Pulse) -> float:
    """Fluence on the axis, photons per square micrometre."""
    if pulse.fluence_um2 is not None:
        return pulse.fluence_um2
    return float(pulse.fluence) * _UM2


def _other_physics(random: np.random.Generator, settings: DrawnSettings) -> DrawnSettings:
    """The same pulses with slow transfers, half of them by the rule of pairs."""
    shortest, longest = SLOW_TRANSFER
    time = np.exp(random.uniform(np.log(shortest), np.log(longest), len(settings.options)))
    pairs = random.random(len(time)) < 0.5
    columns = settings.columns.copy()
    options: list[ModelOptions] = []
    for row, one in enumerate(settings.options):
        other = replace(one, transfer_time_fs=float(time[row]))
        options.append(replace(other, transfer="pair") if pairs[row] else other)
    columns[:, 4] = np.log(time)
    columns[pairs, 3] = np.nan
    return DrawnSettings(settings.pulses, tuple(options), columns)


def one_of_each(entries: FamilyEntries, atoms: int, random: np.random.Generator) -> KnownExplosions:
    """One entry of each geometry."""
    order = random.permutation(len(entries))
    geometry = entries.geometry.cpu().numpy()[order]
    _, first = np.unique(geometry, return_index=True)
    rows = np.sort(order[first])
    chosen = entries.select(torch.from_numpy(rows)).to("cpu")

    def values(name: str) -> FloatArray:
        return np.asarray(getattr(chosen, name)[:, :atoms].double().numpy())

    numbers = values("numbers").astype(np.int64)
    masses = np.vectorize(lambda number: BY_NUMBER[int(number)].isotope_mass, otypes=[np.float64])(
        numbers
    )
    momenta = values("momenta")
    return KnownExplosions(
        numbers=numbers,
        charges=values("charges"),
        masses=masses.reshape(numbers.shape),
        momenta=momenta - momenta.mean(axis=1, keepdims=True),
        errors=values("errors"),
        positions=values("positions"),
        molecule=_numbered(chosen.molecule.numpy(), chosen.geometry.numpy()),
        settings=chosen.settings.double().numpy(),
    )


def _numbered(molecule: IntArray, geometry: IntArray) -> IntArray:
    """Numbers of molecules; every random cluster is one of its own."""
    return np.where(molecule >= 0, molecule, -1 - geometry)


def _joined(parts: list[KnownExplosions]) -> KnownExplosions:
    names = [name for name, value in vars(parts[0]).items() if value is not None]
    return KnownExplosions(
        **{name: np.concatenate([getattr(one, name) for one in parts]) for name in names}
    )
