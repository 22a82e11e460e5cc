"""References: molecules of known geometry, their zero-point motion, and what a family predicts.

A measured mean is one over vibrating molecules. Its prediction is the mean over fixed structures
drawn from the vibrational ground state, exploded one by one and averaged as the measured ones were.
The draws come in pairs of opposite displacements whose second moments are those of the ground
state exactly, so that a few of them leave errors of fourth order; a larger set at the best
parameters removes those. Yields are those of the molecule at rest, corrected at the best parameters
for vibration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

import numpy as np
from scipy.stats import norm, qmc

from molexa_core.base.errors import ComputationError
from molexa_core.base.matter.ions import Ion
from molexa_core.base.settings import Frame
from molexa_core.base.settings.virtual import VirtualExperiment
from molexa_core.base.tables import BoolArray, Coincidences, FloatArray
from molexa_core.base.units import DALTON_ME
from molexa_core.frame.align import Aligner
from molexa_core.physics.family.calibrated import relative_error
from molexa_core.physics.family.error_size import (
    ErrorSize,
    reference_size_of,
    size_of,
    yield_size_of,
)
from molexa_core.physics.family.family import Family, Fragments, WithYields
from molexa_core.physics.virtual.sources import Target
from molexa_core.pipeline.calibration.aligned_means import left_by_scatter, turned_mean
from molexa_core.pipeline.calibration.pairs import Observed, Pairs

DRAWS: Final = 2
"""Structures of a prediction, at least: two more than two for each mode (see `unit_draws`)."""
MANY: Final = 400
"""Structures of the prediction at the best parameters, from which the others are corrected."""
YIELD_DRAWS: Final = 24
"""Structures from which yields at the best parameters are corrected."""
SIGMA_BOHR: Final = VirtualExperiment().zero_point_sigma_bohr
"""Standard deviation of an atom of 1 u of a molecule without a Hessian, as in virtual runs."""
OPEN_DRAWS: Final = 32
"""Draws of what a family leaves open; more where a molecule has more than five atoms."""
BLOCK: Final = 20_000
"""Explosions in one call of a family."""


def ground_state(target: Target, count: int, *, seed: int = 0) -> FloatArray:
    """Structures of the vibrational ground state with its exact first and second moments.

    Args:
        target: the molecule; without modes every atom vibrates independently, by `SIGMA_BOHR` for
            an atom of 1 u.
        count: their number, at least; more if there are many modes. Even.
        seed: of the draws.

    Returns:
        (count, N, 3) bohr.
    """
    atoms = len(target.ions)
    if target.modes is None:
        width = np.repeat(SIGMA_BOHR * np.sqrt(DALTON_ME / target.atom_masses), 3)
        directions = np.diag(width).reshape(-1, atoms, 3)
    else:
        modes = target.modes.stiffened()
        directions = modes.displacement * np.sqrt(modes.variance)[:, None, None]
    normal = unit_draws(len(directions), count, seed=seed)
    moved = np.einsum("nm,mac->nac", normal, directions)
    return np.asarray(target.positions + moved)


@cache
def unit_draws(size: int, count: int, *, seed: int) -> FloatArray:
    """(count, size) normal deviates in opposite pairs, with exactly the covariance of unity.

    More of them if `count` is not above twice the size.
    """
    pairs = max((count + 1) // 2, size + 1)
    exponent = int(np.ceil(np.log2(pairs)))
    uniform = qmc.Sobol(size, rng=np.random.default_rng(seed)).random_base2(exponent)[:pairs]
    normal = norm.ppf(np.clip(uniform, 1e-9, 1.0 - 1e-9))
    values, vectors = np.linalg.eigh(normal.T @ normal / pairs)
    normal = normal @ (vectors / np.sqrt(values)) @ vectors.T
    found: FloatArray = np.concatenate([normal, -normal])
    found.flags.writeable = False
    return found


@dataclass(frozen=True)
class Reference:
    """One measured channel of a molecule of known geometry.

    Attributes:
        label: as the user names it.
        molecule: name of the molecule.
        ions: N ions.
        target: the molecule, its atoms in the order of the ions.
        observed: what was measured.
        frame: the molecular frame in which momenta were averaged; None if each event was turned
            onto the mean (`aligned_means.observe`).
        condition: number of its condition; 0 is the experiment.
    """

    label: str
    molecule: str
    ions: tuple[Ion, ...]
    target: Target
    observed: Observed
    frame: Frame | None = None
    condition: int = 0
    draws: FloatArray = field(init=False, repr=False)
    many: FloatArray = field(init=False, repr=False)
    pairs: Pairs = field(init=False, repr=False)

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "draws", ground_state(self.target, DRAWS))
        set_field(self, "many", ground_state(self.target, MANY, seed=1))
        set_field(self, "pairs", Pairs(self.ions))

    @property
    def fragments(self) -> Fragments:
        """Its ions as a family takes them."""
        return Fragments.of(self.ions)

    def error_size(self, family: Family) -> ErrorSize:
        """How well the size of the family's error is known."""
        return size_of(family)

    def tested_error_size(self, family: Family) -> ErrorSize:
        """The same for p-values: of this molecule, where it was measured."""
        return reference_size_of(family, [ion.element.symbol for ion in self.ions])

    def evaluate(
        self, family: Family, parameters: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Predicted values for parameters (s, P), and how uncertain they are.

        The momenta of all events are off by what the family leaves open. Its covariance is carried
        to the values by draws whose second moments are exact, since sizes of momenta are not
        linear in them: a linear molecule that bends only lengthens some.

        Returns:
            (s, K) values, not numbers where the model fails; (s, K, K) covariance by the error of
            the family; (s, K, K) covariance by a relative error of one of the momenta.
        """
        sets, kinds = len(parameters), len(self.pairs.names)
        values = np.empty((sets, kinds))
        own, relative = np.empty((2, sets, kinds, kinds))
        step = max(1, BLOCK // (4 * len(self.draws)))
        for first in range(0, sets, step):
            part = parameters[first : first + step]
            at = slice(first, first + step)
            rest = np.repeat(self.target.positions[None], len(part), axis=0)
            error = family.error(self.fragments, rest, part)
            momenta = family.explode(self.fragments, rest, part)
            gradient = self.pairs.gradient(momenta)
            misfit = relative_error(self.fragments, momenta)
            relative[at] = gradient @ misfit @ gradient.transpose(0, 2, 1)
            means, _ = self._means(self.draws, family, part)
            off = means[:, None] + self._open(error)
            each = self.pairs.sizes(off.reshape(-1, *means.shape[1:]))
            each = each.reshape(len(part), -1, kinds)
            values[at] = each.mean(axis=1)
            away = each - values[at][:, None]
            own[at] = np.einsum("sjk,sjl->skl", away, away) / each.shape[1]
        return values, own, relative

    def by_moves(
        self, family: Family, parameters: FloatArray, moves: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """How predictions change when the momenta of all events move, averaged as in `evaluate`.

        Args:
            family: the forward models.
            parameters: (s, P).
            moves: (s, 3 N, M) of the momenta.

        Returns:
            (s, K) predictions, and (s, K, M) their change per move.
        """
        rest = np.repeat(self.target.positions[None], len(parameters), axis=0)
        values = np.empty((len(parameters), len(self.pairs.names)))
        slope = np.empty((*values.shape, moves.shape[2]))
        step = max(1, BLOCK // (4 * len(self.draws)))
        for first in range(0, len(parameters), step):
            at = slice(first, first + step)
            error = family.error(self.fragments, rest[at], parameters[at])
            means, _ = self._means(self.draws, family, parameters[at])
            off = means[:, None] + self._open(error)
            each = self.pairs.sizes(off.reshape(-1, *means.shape[1:]))
            values[at] = each.reshape(len(off), off.shape[1], -1).mean(axis=1)
            gradient = self.pairs.gradient(off.reshape(-1, *means.shape[1:]))
            gradient = gradient.reshape(len(off), off.shape[1], *gradient.shape[1:]).mean(axis=1)
            slope[at] = gradient @ moves[at]
        return values, slope

    def _open(self, error: FloatArray) -> FloatArray:
        """(s, J, N, 3) draws of what covariances (s, 3 N, 3 N) leave open; the same for every s."""
        usable: BoolArray = np.asarray(np.isfinite(error).all(axis=(1, 2)))
        eigenvalues, vectors = np.linalg.eigh(np.where(usable.reshape(-1, 1, 1), error, 0.0))
        root = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))[:, None, :]
        root = root @ vectors.transpose(0, 2, 1)
        root[~usable] = np.nan
        normal = unit_draws(error.shape[1], OPEN_DRAWS, seed=2)
        off = np.einsum("sab,jb->sja", root, normal)
        return np.asarray(off.reshape(len(error), len(normal), -1, 3))

    def correction(self, family: Family, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(K) what is added to predictions near one set of parameters (P); its covariance (K, K).

        What many structures change, and what scatter that the prediction lacks leaves in the means
        (`aligned_means.left_by_scatter`).
        """
        at = parameters[None]
        many, scatter = self._means(self.many, family, at)
        few, _ = self._means(self.draws, family, at)
        values = self.pairs.sizes(many)[0]
        more = values - self.pairs.sizes(few)[0]
        if not np.isfinite(more).all():
            return np.zeros(len(values)), np.zeros((len(values), len(values)))
        left = left_by_scatter(self.observed, float(scatter[0]), values, len(self.ions))
        return more + left.offset, left.covariance

    def _means(
        self, structures: FloatArray, family: Family, parameters: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """(s, N, 3) mean momenta over vibrating structures, and (s) their scatter."""
        sets, count = len(parameters), len(structures)
        given = np.tile(structures, (sets, 1, 1)), np.repeat(parameters, count, axis=0)
        momenta = family.explode(self.fragments, *given)
        events = momenta.reshape(sets, count, len(self.ions), 3)
        if self.frame is None:
            return turned_mean(events)
        usable = np.flatnonzero(np.isfinite(events).all(axis=(1, 2, 3)))
        means = np.full((sets, len(self.ions), 3), np.nan)
        if len(usable):
            means[usable] = _frame_means(self.ions, self.frame, events[usable])
        return means, np.full(sets, np.nan)


def _frame_means(ions: tuple[Ion, ...], frame: Frame, events: FloatArray) -> FloatArray:
    """(sets, N, 3) mean momenta in the molecular frame of events (sets, n, N, 3)."""
    sets, count = events.shape[:2]
    table = Coincidences.of(ions, events.reshape(sets * count, len(ions), 3))
    aligner = Aligner(ions, frame)
    # The lobes of like ions are those of all sets together, which differ little.
    aligner.look([table])
    (turned,) = aligner.blocks([table])
    of_set = turned.event_id // count
    weight = np.bincount(of_set, turned.weight, sets)
    means = np.full((sets, len(ions), 3), np.nan)
    for ion in range(len(ions)):
        for axis in range(3):
            total = np.bincount(of_set, turned.weight * turned.momentum[:, ion, axis], sets)
            means[:, ion, axis] = np.divide(
                total, weight, out=np.full(sets, np.nan), where=weight > 0
            )
    return means


@dataclass(frozen=True)
class YieldReference:
    """How often a molecule was seen to end in each of several combinations of charges.

    Attributes:
        label: as the user names it.
        molecule: name of the molecule.
        targets: (M + 1) the molecule with the ions of each combination; the first one is compared
            with.
        observed: logarithms of the M ratios to the first one.
        condition: number of its condition; 0 is the experiment.
    """

    label: str
    molecule: str
    targets: tuple[Target, ...]
    observed: Observed
    condition: int = 0
    structures: tuple[FloatArray, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        drawn = tuple(ground_state(target, YIELD_DRAWS) for target in self.targets)
        object.__setattr__(self, "structures", drawn)

    def error_size(self, family: Family) -> ErrorSize:
        """How well the size of the family's error is known."""
        return yield_size_of(family)

    def tested_error_size(self, family: Family) -> ErrorSize:
        """The same for p-values."""
        return yield_size_of(family)

    def evaluate(
        self, family: Family, parameters: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Predicted values (s, M), their covariance (s, M, M), and that of a misfit: none."""
        sets, size = len(parameters), len(self.targets) - 1
        rest = [target.positions[None] for target in self.targets]
        columns, variances = self._logarithms(family, parameters, rest)
        values = columns[:, 1:] - columns[:, :1]
        own = np.einsum("sm,mk->smk", variances[:, 1:], np.eye(size))
        return values, own + variances[:, 0, None, None], np.zeros((sets, size, size))

    def correction(self, family: Family, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(M) what vibration adds to the predictions near one set of parameters (P); no covariance.

        Errors of yields are larger than what it leaves open.
        """
        size = len(self.targets) - 1
        rest = [target.positions[None] for target in self.targets]
        still, _ = self._logarithms(family, parameters[None], rest)
        moving, _ = self._logarithms(family, parameters[None], self.structures)
        more = (moving - still)[0]
        added = more[1:] - more[0]
        return np.where(np.isfinite(added), added, 0.0), np.zeros((size, size))

    def _logarithms(
        self, family: Family, parameters: FloatArray, structures: Sequence[FloatArray]
    ) -> tuple[FloatArray, FloatArray]:
        """(s, M + 1) ln of the mean yields over structures, and their variances."""
        known, sets = _yields(family, self.label), len(parameters)
        columns, variances = np.empty((2, sets, len(self.targets)))
        for row, (target, drawn) in enumerate(zip(self.targets, structures, strict=True)):
            count = len(drawn)
            log_yield, error = known.log_yield(
                Fragments.of(target.ions),
                np.tile(drawn, (sets, 1, 1)),
                np.repeat(parameters, count, axis=0),
            )
            each = log_yield.reshape(sets, count)
            top = each.max(axis=1, keepdims=True)
            columns[:, row] = top[:, 0] + np.log(np.exp(each - top).mean(axis=1))
            # A family knows which atom has which charge; counts do not.
            columns[:, row] += math.log(arrangements(target.ions))
            variances[:, row] = np.square(error).reshape(sets, count).mean(axis=1)
        return columns, variances


def arrangements(ions: Sequence[Ion]) -> int:
    """In how many ways the charges of ions can be given to like atoms: 2 for N2+ and N+."""
    of_kind: dict[str, list[int]] = {}
    for ion in ions:
        of_kind.setdefault(ion.element.symbol, []).append(ion.charge)
    ways = 1
    for charges in of_kind.values():
        ways *= math.factorial(len(charges))
        for charge in set(charges):
            ways //= math.factorial(charges.count(charge))
    return ways


def _yields(family: Family, where: str) -> WithYields:
    if not isinstance(family, WithYields):
        raise ComputationError(
            f"{family.name}: this model does not say how often charges occur",
            where=where,
            do="Leave out the yields, or describe the pulse as `kind: xray`.",
        )
    return family
