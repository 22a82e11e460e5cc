"""Reconstruct events: one structure for every coincidence, and their means in real space.

Mean momenta average over everything that varies from shot to shot (vibration, isomers, progress of
a reaction), and the structure of a mean momentum is not the mean structure. Where coincidences are
complete, every event is therefore inverted with the forward model of the explosion, and structures,
distances and angles are averaged. The network gives the starts. The means are free of the bias that
the resolution of single events gives them (`event_means`), and carry two errors: one of statistics,
and one that all events share since the explosion is not known exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.fields import EXPLOSION
from molexa_core.base.mathematics.circular import around, median_direction
from molexa_core.base.matter.ions import isotopes_of
from molexa_core.base.options.reconstruct_options import (
    ALIKE,
    SAMPLES_OF_EVENTS,
    USUAL,
    ReconstructOptions,
)
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Explosion, Setup, parse_settings
from molexa_core.base.tables import BoolArray, Coincidences, FloatArray, Geometry, ion_labels
from molexa_core.frame.completeness import sum_doubt
from molexa_core.geometry.bonds import bonds
from molexa_core.geometry.superposition import superpose
from molexa_core.io.results.structures import EventStructures
from molexa_core.network.inference.answers import check_ions, reconstruct_sets
from molexa_core.network.inference.engine import Engine
from molexa_core.network.network import Network
from molexa_core.network.weights import ModelCard, default_weights, load_network
from molexa_core.physics.coulomb.batches import far_shape
from molexa_core.physics.family.family import ExplosionKnowledge, Fragments
from molexa_core.pipeline.chain.channel_limits import inherited
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.inversion.geometry_belief import believed
from molexa_core.pipeline.reconstruction.branch import Member, Reference, Solved, Solver
from molexa_core.pipeline.reconstruction.dihedrals import chains_of
from molexa_core.pipeline.reconstruction.error_bars import require_possible
from molexa_core.pipeline.reconstruction.event_branches import (
    Branch,
    branches,
    consensus,
    mean_momenta,
    plausible_nearby,
    rescued,
    settled,
)
from molexa_core.pipeline.reconstruction.event_means import (
    DRAWS,
    Distribution,
    NoiseShift,
    Quantities,
    Systematic,
    direction,
    members_of,
    noise_shift,
    statistics,
    systematic,
    uncertainty_of_events,
)
from molexa_core.pipeline.reconstruction.event_units import EventUnits
from molexa_core.reduction.resolution import (
    Resolution,
    by_mass,
    resolution_from_sums,
    resolution_of,
)

__all__ = ["Distribution", "EventDistribution", "MeanStructure", "reconstruct_events"]

OTHER_MEMBERS: Final = 6
"""Members of the family that are tried where the central one does not explain the events."""
HALF: Final = 0.5
"""Share of the events that counts as explaining them."""
WIDER: Final = 6
"""So many times more further starts where no chemically plausible structure was found."""
ASKED: Final = 5
"""Turns in which the network is asked for structures in an explosion other than its own, ..."""
HALVED: Final = 6
"""... after at most so many with momenta scaled alike, ..."""
FEW: Final = 6
"""... of so many events."""
FACTORS: Final = (0.25, 4.0)
"""Range of the scale."""
DAMPED: Final = 0.4
NEAR: Final = 0.05
"""Relative difference of the momenta below which answers are good enough as starts."""
TRIED: Final = 100
"""Events on which branches are compared."""
MANY_UNEXPLAINED: Final = 0.1
"""Share of events without a structure above which there is a warning."""
FEWEST_MEMBERS: Final = 5.0
"""Effective number of members of the family below which there is a warning."""
SETUP: Final = "setup"


@dataclass(frozen=True)
class MeanStructure:
    """The mean of the structures of the events, superposed.

    Attributes:
        geometry: positions in bohr; their uncertainty is both errors in quadrature.
        statistical: (N, 3) standard error from the number of events, bohr.
        systematic: (N, 3) standard error that all events share, bohr; None if none was propagated.
        spread: (N, 3) standard deviation of single structures, resolution taken out, bohr.
    """

    geometry: Geometry
    statistical: FloatArray
    systematic: FloatArray | None
    spread: FloatArray


@dataclass(frozen=True)
class EventDistribution:
    """Structures of events and the distribution of their distances and angles.

    Attributes:
        structures: one per event that has one, in the frame of its momenta; atoms in the order of
            `mean`.
        mean: the mean structure.
        distances: for each pair of ions: mean with both errors, standard deviation, quantiles.
        angles: for each triplet (vertex in the middle): the same in degrees.
        dihedrals: for each chain of four bonded atoms: the same, as directions.
        explosion: what was assumed about the explosion, as a sentence.
        resolution: where the resolution of single events comes from; None if it is not known, and
            means are not free of its bias.
        left_out: numbers of events without a structure by reason: `unusable` momenta,
            `unexplained`, `unlike` the others (accidental coincidences, or another structure).
        share_of_samples: share of the structures of the network that lie on the branch of the
            mean structure.
        alternatives: other branches that explain most of the events, as in `geom.json`.
        refused: share of the members of the family that do not explain the events.
        warnings: sentences for the user.
    """

    structures: EventStructures
    mean: MeanStructure
    distances: list[Distribution]
    angles: list[Distribution]
    dihedrals: list[Distribution]
    explosion: str
    resolution: str | None
    left_out: dict[str, int]
    share_of_samples: float
    alternatives: tuple[dict[str, Any], ...]
    refused: float
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, without the structures."""
        common = self.mean.systematic
        return {
            "events": len(self.structures),
            "left_out": self.left_out,
            "explosion": self.explosion,
            "resolution": self.resolution,
            "distances_bohr": self.distances,
            "angles_degree": self.angles,
            "dihedrals_degree": self.dihedrals,
            "positions_bohr": self.mean.geometry.positions.tolist(),
            "statistical_bohr": self.mean.statistical.tolist(),
            "systematic_bohr": None if common is None else common.tolist(),
            "members_refused": self.refused,
            "share_of_samples": self.share_of_samples,
            "alternatives": list(self.alternatives),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Prepared:
    """Events ready to be solved.

    Attributes:
        table: every event once, those with usable momenta.
        unusable: number of the others.
        momenta: (n, N, 3) with sum zero, like ions in random order, a.u.
        shuffle: (n, N) the column of the table that each ion is.
        resolution: of the momenta, if it is known.
        knowledge: what is known about the explosion.
        network: gives the starts.
        random: for all that is drawn later.
        warnings: those of earlier stages, and doubts about the momentum sums.
    """

    table: Coincidences
    unusable: int
    momenta: FloatArray
    shuffle: np.ndarray
    resolution: Resolution | None
    knowledge: ExplosionKnowledge
    network: Network
    random: np.random.Generator
    warnings: tuple[str, ...]

    def with_others(self, table: Coincidences) -> Prepared:
        """The same with further events behind them, such as false coincidences.

        They do not change the resolution. Momenta that are not numbers are taken as they are; no
        structure explains them.
        """
        if self.resolution is None:
            mass = np.array([ion.mass for ion in table.ions])
            total = table.momentum.sum(axis=1, keepdims=True)
            momenta = table.momentum - (mass / mass.sum())[:, None] * total
        else:
            momenta = self.resolution.without_sum(table.momentum)
        shuffle = _shuffled(table, self.random)
        momenta = np.take_along_axis(momenta, shuffle[:, :, None], axis=1)
        ours, theirs = (replace(one, false=None, source=None) for one in (self.table, table))
        return replace(
            self,
            table=Coincidences.concatenate([ours, theirs]),
            momenta=np.concatenate([self.momenta, momenta]),
            shuffle=np.concatenate([self.shuffle, shuffle]),
        )

    def select(self, rows: BoolArray) -> Prepared:
        """Some of the events."""
        return replace(
            self,
            table=self.table.select(rows),
            momenta=self.momenta[rows],
            shuffle=self.shuffle[rows],
        )

    def in_their_frame(self, resolution: Resolution) -> Resolution:
        """The resolution in the frame of the momenta."""
        return resolution if _in_laboratory(self.table) else resolution.averaged()


def prepared(
    events: Coincidences,
    explosion: Explosion | ExplosionKnowledge | None,
    *,
    options: ReconstructOptions,
    network: tuple[Network, ModelCard] | None = None,
) -> Prepared:
    """Events ready to be solved.

    Args:
        events: as in `reconstruct_events`.
        explosion: as in `reconstruct_events`.
        options: how structures are looked for.
        network: as in `reconstruct_events`.

    Raises:
        UnknownIonError: an ion that the network does not know.
        UsageError: no events, or too few or too many ions.
    """
    loaded, _ = network or load_network(
        options.weights or default_weights(), take_device(options.device)
    )
    check_ions(loaded, events.ions)
    table, unusable = _usable(events)
    random = np.random.default_rng([options.seed, 5])
    doubt = sum_doubt(events)
    warnings = inherited(events.meta) + ([] if doubt is None else [doubt])
    resolution, momenta = _measured(events, table)
    shuffle = _shuffled(table, random)
    momenta = np.take_along_axis(momenta, shuffle[:, :, None], axis=1)
    require_possible(events.ions, np.sqrt(np.median(momenta**2, axis=0)))
    knowledge = _knowledge(explosion, events)
    return Prepared(
        table, unusable, momenta, shuffle, resolution, knowledge, loaded, random, tuple(warnings)
    )


def first_that_explains(
    ready: Prepared,
    rows: BoolArray,
    *,
    options: ReconstructOptions,
    progress: Progress,
) -> tuple[Solver, list[Branch]]:
    """A solver and the branches that it finds, the best first, for some of the events.

    Args:
        ready: the events.
        rows: (n) those that are looked at.
        options: how structures are looked for.
        progress: display of the progress.

    Raises:
        ComputationError: no structure explains the events.
    """
    return _first_that_explains(
        ready.knowledge,
        ready.table,
        ready.resolution,
        ready.momenta[rows],
        ready.network,
        (),
        options=options,
        random=ready.random,
        progress=progress,
    )


def reconstruct_events(
    events: Coincidences,
    *,
    options: ReconstructOptions = USUAL,
    network: tuple[Network, ModelCard] | None = None,
    explosion: Explosion | ExplosionKnowledge | None = None,
    draws: int = DRAWS,
    starts: Sequence[tuple[FloatArray, FloatArray]] = (),
    units: EventUnits | None = None,
    progress: Progress = SILENT,
) -> EventDistribution:
    """Reconstruct one structure for every event, and their means.

    Args:
        events: momenta of complete coincidences, in the laboratory frame (`reduce`) or a molecular
            one (`align`, of which every event counts once).
        options: how structures are looked for.
        network: a loaded network with its card, in place of the one of the options.
        explosion: what is known about the explosion; what the setup of the events says if not
            given, and else nothing.
        draws: members of the family for the systematic error.
        starts: further structures (N, 3) in bohr with the momenta (N, 3) in a.u. that they belong
            to, in the order of the ions.
        units: computes many events in units of work, with what was told as `explosion`; None:
            the threads of this process do.
        progress: display of the progress.

    Returns:
        Structures in the frame of the momenta, their means and distributions.

    Raises:
        UnknownIonError: an ion that the network does not know.
        UsageError: no events, or too few or too many ions.
        ComputationError: no structure explains the events.
    """
    if draws < 2:
        raise UsageError(f"{draws} draws", do="Ask for at least two.")
    belief = believed(options, usual=ALIKE, progress=progress)
    ready = prepared(events, explosion, options=options, network=network)
    table, unusable, momenta, shuffle = ready.table, ready.unusable, ready.momenta, ready.shuffle
    resolution, knowledge = ready.resolution, ready.knowledge
    random, warnings = ready.random, list(ready.warnings)
    solver, found = _first_that_explains(
        knowledge,
        events,
        resolution,
        momenta,
        ready.network,
        starts,
        options=options,
        random=random,
        progress=progress,
    )
    if units is not None:
        units.distribute(solver, _like(events), knowledge)
    with progress.task("inverting", len(momenta), "events") as task:
        reference, solved, crowd = settled(solver, momenta, found[0].reference)
        solved = rescued(solver, solved, reference, crowd)
        task.advance(len(momenta))
    holds = crowd.holds(solved)
    if not holds.any():
        raise ComputationError(
            "no structure explains the momenta of the events",
            do="Check the ions and the explosion that was told.",
        )
    left_out = {
        "unusable": unusable,
        "unexplained": int((~solved.explained).sum()),
        "unlike": int((solved.explained & ~holds).sum()),
    }
    good = solved.rows(holds)
    shift = None
    if resolution is not None:
        lab = resolution if _in_laboratory(events) else resolution.averaged()
        shift = noise_shift(solver, good, lab, reference, crowd.holds, random)
    symbols = _symbols(events)
    prior = belief.prior(symbols)
    common = systematic(
        solver, good, knowledge, reference, prior, random, draws=draws, progress=progress
    )
    warnings += _doubts(found, left_out, len(events), common, draws, resolution)
    warnings += [] if units is None else units.failed
    return _distribution(
        events,
        table.select(holds),
        good,
        shuffle[holds],
        reference,
        shift,
        common,
        resolution,
        explosion=knowledge.statement,
        left_out=left_out,
        branches=found,
        warnings=warnings,
    )


def _knowledge(
    explosion: Explosion | ExplosionKnowledge | None, events: Coincidences
) -> ExplosionKnowledge:
    """What is known: as given, or as the setup of the events says."""
    if isinstance(explosion, ExplosionKnowledge):
        return explosion
    if explosion is None:
        setup = events.meta.get(SETUP)
        block = setup.get(EXPLOSION) if isinstance(setup, Mapping) else None
        explosion = Explosion()
        if isinstance(block, Mapping):
            explosion = parse_settings(Explosion, dict(block), where="explosion of the events")
    return knowledge_of(explosion, single=True)


def _usable(events: Coincidences) -> tuple[Coincidences, int]:
    """Every event once, without those whose momenta are zero or not numbers; and their number."""
    _, first = np.unique(events.event_id, return_index=True)
    once = events if len(first) == len(events) else events.select(np.sort(first))
    if len(first) < len(events):
        once = replace(once, weight=np.ones(len(once)))
    size = np.linalg.norm(once.momentum, axis=2).max(axis=1)
    good = np.flatnonzero(np.isfinite(size) & (size > 0) & (once.weight > 0))
    if not len(good):
        raise UsageError("no event has usable momenta", do="Check the events file.")
    return once.select(good), len(once) - len(good)


def _in_laboratory(events: Coincidences) -> bool:
    return "frame" not in events.meta


def _measured(events: Coincidences, table: Coincidences) -> tuple[Resolution | None, FloatArray]:
    """The resolution, if it is known, and (n, N, 3) momenta with sum zero."""
    known = events.meta.get(SETUP)
    momentum = table.momentum
    size = float(np.sqrt(np.median(np.square(momentum).sum(axis=(1, 2)))))
    if isinstance(known, dict):
        setup = parse_settings(Setup, known, where=SETUP)
        if _in_laboratory(events):
            found = resolution_of(events.ions, setup, table.momentum_sum())
            return found, found.without_sum(momentum)
        found = by_mass(events.ions, resolution_of(events.ions, setup, np.empty((0, 3))))
        return found, found.without_sum(momentum)
    alone = resolution_from_sums(events.ions, table.momentum_sum(), size)
    if alone is not None and _in_laboratory(events):
        return alone, alone.without_sum(momentum)
    mass = np.array([ion.mass for ion in events.ions])
    total = momentum.sum(axis=1, keepdims=True)
    return None, np.asarray(momentum - (mass / mass.sum())[:, None] * total)


def _like(events: Coincidences) -> list[int]:
    names = [str(ion) for ion in events.ions]
    return [names.index(name) for name in names]


def _shuffled(table: Coincidences, random: np.random.Generator) -> np.ndarray:
    """(n, N) columns with like ions in random order: that of a file may depend on their flight."""
    like = _like(table)
    order = np.tile(np.arange(len(like)), (len(table), 1))
    for kind in set(like):
        columns = [column for column, this in enumerate(like) if this == kind]
        order[:, columns] = random.permuted(order[:, columns], axis=1)
    return order


def _first_that_explains(
    explosion: ExplosionKnowledge,
    events: Coincidences,
    resolution: Resolution | None,
    momenta: FloatArray,
    network: Network,
    starts: Sequence[tuple[FloatArray, FloatArray]],
    *,
    options: ReconstructOptions,
    random: np.random.Generator,
    progress: Progress,
) -> tuple[Solver, list[Branch]]:
    """A solver with the central member of the family, and the branches that it finds.

    The central member has the mean parameters of the most probable family; where that explains less
    than half of the events, it is the first of some that are drawn.

    Raises:
        ComputationError: none of them explains the events.
    """
    fragments = Fragments.of(events.ions)
    sigma = np.zeros(len(events.ions)) if resolution is None else resolution.of_ions
    best = max(explosion.hypotheses, key=lambda one: one.weight)
    members = [Member(best.family, fragments, best.belief.mean)]
    if any(one.belief.factor().size for one in explosion.hypotheses):
        members += members_of(explosion, fragments, random, OTHER_MEMBERS)
    for member in members:
        solver = Solver(member, sigma, _like(events))
        found = _branches(
            solver,
            events,
            momenta,
            network,
            [*starts],
            options=options,
            random=random,
            progress=progress,
        )
        if found and found[0].explained > HALF:
            return solver, found
    raise ComputationError(
        "no structure explains the momenta of the events",
        do="Check the ions and the explosion that was told.",
    )


def _branches(
    solver: Solver,
    events: Coincidences,
    momenta: FloatArray,
    network: Network,
    given: list[tuple[FloatArray, FloatArray]],
    *,
    options: ReconstructOptions,
    random: np.random.Generator,
    progress: Progress,
) -> list[Branch]:
    tried = momenta[np.sort(random.permutation(len(momenta))[:TRIED])]
    samples = options.samples or SAMPLES_OF_EVENTS
    search, chemistry = options.search, options.plausible
    means = mean_momenta(tried, solver.orders, samples // 2, random)
    asked = np.concatenate([means, tried[: samples - samples // 2]])
    drawn = _drawn(network, solver.explosion, events, asked, options.seed, progress)
    starts, owners = [*drawn], [*asked]
    masses = solver.explosion.fragments.masses
    for number in range(search):
        row = int(random.integers(len(asked)))
        noise = random.standard_normal(starts[row].shape)
        size = float(np.sqrt(np.square(starts[row]).sum(axis=1).mean()))
        if number % 2:
            starts.append(starts[row] + 0.8 * noise)
        else:
            starts.append(size * far_shape(owners[row], masses) + 0.5 * noise)
        owners.append(owners[row])
    symbols = [ion.element.symbol for ion in events.ions]
    middle, mean = consensus(drawn, asked, solver.orders, symbols)
    own = solver.explosion.momenta(middle[None])[0]
    preferred = [(middle, mean), *given, (middle, own)]
    preferred = [one for one in preferred if np.isfinite(one[1]).all() and one[1].any()]
    starts += [positions for positions, _ in preferred]
    owners += [of for _, of in preferred]
    found = branches(
        solver,
        tried,
        np.stack(starts),
        np.stack(owners),
        len(asked),
        symbols,
        preferred=len(preferred),
        chemistry=chemistry,
    )
    if found and chemistry and found[0].objections and search:
        number = WIDER * search
        found = plausible_nearby(solver, tried, found, symbols, random, search=number)
    return found


def _drawn(
    network: Network,
    explosion: Member,
    events: Coincidences,
    momenta: FloatArray,
    seed: int,
    progress: Progress,
) -> FloatArray:
    """(n, N, 3) structures of the network, in bohr, for events that exploded in another way.

    The network knows one explosion. It is asked for momenta whose structure x gives the measured
    ones, p, in the told explosion P(x): first p times a common factor, found by bisection, for
    which P(x) has the size of p; then p - P(x) is added a few times, damped, since structures of
    slow explosions change more than in proportion.
    """
    engine = Engine(network)

    def answered(asked: FloatArray) -> tuple[FloatArray, FloatArray]:
        drawn = reconstruct_sets(engine, events.ions, asked, samples=1, seed=seed)
        positions = np.stack([one.samples[0] for one in drawn])
        return positions, explosion.momenta(positions)

    few = momenta[:FEW]
    low, high = np.log(FACTORS)
    with progress.task("starts", float(HALVED + ASKED), "steps") as task:
        factor = 0.0
        for _ in range(HALVED):
            told = answered(few * np.exp(factor))[1]
            size = np.log(_sizes(told) / _sizes(few))
            task.advance()
            middle = float(np.median(size[np.isfinite(size)])) if np.isfinite(size).any() else 1.0
            if abs(middle) < NEAR:
                break
            low, high = (low, factor) if middle > 0.0 else (factor, high)
            factor = 0.5 * (low + high)
        asked = momenta * np.exp(factor)
        best, least = momenta, np.full(len(momenta), np.inf)
        for _ in range(ASKED):
            positions, told = answered(asked)
            task.advance()
            away = np.nan_to_num(momenta - told, nan=0.0, posinf=0.0, neginf=0.0)
            miss = np.where(np.isfinite(told).all(axis=(1, 2)), _sizes(away), np.inf)
            better = miss < least
            least = np.where(better, miss, least)
            best = np.where(better[:, None, None], positions, best)
            if np.median(least / _sizes(momenta)) < NEAR:
                break
            asked = asked + DAMPED * away
    return best


def _sizes(momenta: FloatArray) -> FloatArray:
    """(n) root of the sum of the squares."""
    return np.asarray(np.sqrt(np.square(momenta).sum(axis=(1, 2))))


def _doubts(
    found: Sequence[Branch],
    left_out: dict[str, int],
    events: int,
    common: Systematic | None,
    draws: int,
    resolution: Resolution | None,
) -> list[str]:
    """Sentences for the user."""
    sentences = []
    missing = left_out["unexplained"] + left_out["unlike"]
    if many_missing(left_out, events - missing):
        sentences.append(
            f"{missing} of {events} events have no structure or one unlike the others: accidental "
            "coincidences, another explosion than assumed, or several structures"
        )
    if found[0].objections:
        sentences.append(
            f"as a molecule at rest the mean structure is unusual: {found[0].objections[0]}"
        )
    rivals = [one for one in _rivals(found) if not one.objections]
    if rivals:
        sentences.append(
            f"{len(rivals)} other chemically plausible structure"
            f"{'s explain' if len(rivals) > 1 else ' explains'} the events as well: the errors are "
            "those of the structure shown, and do not say that it is the right one"
        )
    if common is not None and common.refused:
        sentences.append(
            f"{common.refused} of {draws} explosions that may be true do not explain the events "
            "and do not count in the systematic error"
        )
    if common is not None and not np.isfinite(common.error).all():
        sentences.append("no explosion that may be true explains the events: no systematic error")
    elif common is not None and common.effective < FEWEST_MEMBERS:
        sentences.append(
            f"the systematic error rests on {common.effective:.1f} explosions in effect; what is "
            "told about the explosion hardly fits these events"
        )
    if resolution is None:
        sentences.append(
            "the resolution of single events is not known (no setup in the file): means and widths "
            "of the distributions contain what it does to them"
        )
    return sentences


def many_missing(left_out: Mapping[str, int], explained: int) -> bool:
    """Whether more events than accidental ones have no structure, or one unlike the others."""
    missing = left_out["unexplained"] + left_out["unlike"]
    return missing > MANY_UNEXPLAINED * (explained + missing)


def _rivals(found: Sequence[Branch]) -> list[Branch]:
    """The other branches that explain most of the events."""
    return [one for one in found[1:] if one.explained > HALF]


def _alternative(branch: Branch, mean: Geometry) -> dict[str, Any]:
    """A branch as `geom.json` holds another structure, superposed on the mean structure."""
    positions = branch.reference.positions
    moved = superpose(mean.positions, positions, mean.symbols).moved
    return {
        "positions_bohr": moved.tolist(),
        "residual": branch.closure,
        "explains_momenta": True,
        "share_of_samples": branch.share,
        "share_of_events": branch.explained,
        "objections": list(branch.objections),
        "distance_from_answer_bohr": float(np.abs(moved - mean.positions).mean()),
    }


def _distribution(
    events: Coincidences,
    table: Coincidences,
    solved: Solved,
    shuffle: np.ndarray,
    reference: Reference,
    shift: NoiseShift | None,
    common: Systematic | None,
    resolution: Resolution | None,
    *,
    explosion: str,
    left_out: dict[str, int],
    branches: Sequence[Branch],
    warnings: list[str],
) -> EventDistribution:
    of = Quantities.of(solved.positions, reference.positions, Fragments.of(events.ions))
    count = of.columns.shape[1]
    rows: list[tuple[float, float, float] | None] = [None] * count
    if shift is not None:
        rows = list(zip(shift.shift, shift.error, shift.variance, strict=True))
    by_all: list[tuple[float, float] | None] = [None] * count
    if common is not None:
        by_all = list(zip(common.shift.tolist(), common.error.tolist(), strict=True))
    labels = ion_labels(events.ions)
    atoms = len(labels)
    joined = bonds(Geometry(_symbols(events), reference.positions))
    groups: list[tuple[list[int], bool]] = [
        ([i, j], (i, j) in joined)
        for i, j in zip(*(one.tolist() for one in np.triu_indices(atoms, 1)), strict=True)
    ]
    groups += [
        ([i, vertex, j], False)
        for vertex in range(atoms if atoms > 2 else 0)
        for i in range(atoms)
        for j in range(i + 1, atoms)
        if vertex not in (i, j)
    ]
    straight = len(groups)
    groups += [(list(chain), False) for chain in chains_of(reference.positions, events.ions)[0]]
    columns = of.columns
    for column in range(straight, len(groups)):
        middle = median_direction(columns[:, column], table.weight)
        columns[:, column] = around(middle, columns[:, column])
    found = [
        statistics(
            "-".join(labels[atom] for atom in group),
            group,
            columns[:, column],
            table.weight,
            bond=bond,
            shift=rows[column],
            common=by_all[column],
        )
        for column, (group, bond) in enumerate(groups)
    ]
    pairs = of.distances.shape[1]
    mean = _mean(events, of, table.weight, rows, by_all)
    return EventDistribution(
        structures=_structures(events, table, solved, shuffle, resolution),
        mean=mean,
        distances=found[:pairs],
        angles=found[pairs:straight],
        dihedrals=[direction(one) for one in found[straight:]],
        explosion=explosion,
        resolution=None if resolution is None else resolution.source,
        left_out=left_out,
        share_of_samples=branches[0].share,
        alternatives=tuple(_alternative(one, mean.geometry) for one in _rivals(branches)),
        refused=0.0 if common is None else common.refused / max(common.members, 1),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _symbols(events: Coincidences) -> tuple[str, ...]:
    return tuple(ion.element.symbol for ion in events.ions)


def _structures(
    events: Coincidences,
    table: Coincidences,
    solved: Solved,
    shuffle: np.ndarray,
    resolution: Resolution | None,
) -> EventStructures:
    """In the frame of the momenta, atoms in the order of the reference."""
    turned = np.einsum("nxk,nix->nik", solved.turn, solved.positions)
    uncertainty = np.full(turned.shape, np.nan)
    if resolution is not None:
        known = resolution if _in_laboratory(events) else resolution.averaged()
        uncertainty = uncertainty_of_events(solved, known)
    return EventStructures(
        ions=events.ions,
        event_id=table.event_id,
        positions=turned,
        uncertainty=uncertainty,
        closure=solved.closure,
        weight=table.weight,
        column=np.take_along_axis(shuffle, solved.order, axis=1),
    )


def _mean(
    events: Coincidences,
    of: Quantities,
    weight: FloatArray,
    rows: Sequence[tuple[float, float, float] | None],
    by_all: Sequence[tuple[float, float] | None],
) -> MeanStructure:
    atoms = len(events.ions)
    first = of.columns.shape[1] - 3 * atoms
    values = of.columns[:, first:]
    each = [
        statistics("", [], column, weight, shift=rows[first + at], common=by_all[first + at])
        for at, column in enumerate(values.T)
    ]

    def column(name: str) -> FloatArray:
        return np.array([one[name] for one in each], dtype=np.float64).reshape(atoms, 3)  # type: ignore[literal-required]

    positions, statistical = column("mean"), column("error_of_mean")
    shared = None if by_all[first] is None else column("systematic")
    whole = statistical if shared is None else np.hypot(statistical, shared)
    geometry = Geometry(
        _symbols(events),
        positions - positions.mean(axis=0),
        charges=tuple(ion.charge for ion in events.ions),
        uncertainty=whole if np.isfinite(whole).all() else None,
        isotopes=isotopes_of(events.ions),
    )
    return MeanStructure(geometry, statistical, shared, column("standard_deviation"))
