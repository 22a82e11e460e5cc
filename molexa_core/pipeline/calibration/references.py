"""References: molecules of known geometry, their zero-point motion, and what a family predicts.

A measured mean is one over vibrating molecules. Its prediction is the mean over fixed structures
drawn from the vibrational ground state, exploded one by one and averaged as the measured ones were.
The draws come in pairs of opposite displacements whose second moments are those of the ground
state exactly, so that some twenty of them leave errors of fourth order; a larger set at the best
parameters removes those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

import numpy as np
from scipy.stats import norm, qmc

from molexa_core.base.errors import ComputationError
from molexa_core.base.matter.ions import Ion
from molexa_core.base.settings import Frame
from molexa_core.base.settings.virtual import VirtualExperiment
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.base.units import DALTON_ME
from molexa_core.frame.align import Aligner
from molexa_core.physics.family.calibrated import relative_error
from molexa_core.physics.family.family import Family, Fragments, WithYields
from molexa_core.physics.virtual.sources import Target
from molexa_core.pipeline.calibration.pairs import Observed, Pairs

DRAWS: Final = 24
"""Structures of a prediction; more where a molecule has more than ten modes."""
MANY: Final = 400
"""Structures of the prediction at the best parameters, from which the others are corrected."""
SIGMA_BOHR: Final = VirtualExperiment().zero_point_sigma_bohr
"""Standard deviation of an atom of 1 u of a molecule without a Hessian, as in virtual runs."""
BLOCK: Final = 20_000
"""Explosions in one call of a family."""
_KICKS: Final = 4
"""Momenta drawn per structure where the family knows the spread of trajectories."""


@runtime_checkable
class WithSpread(Protocol):
    """A family that knows how the momenta of single explosions of one geometry scatter."""

    def spread(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        """(n, N, 3) standard deviations of the momenta in a.u."""


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
    size = len(directions)
    pairs = max((count + 1) // 2, size + 1)
    exponent = int(np.ceil(np.log2(pairs)))
    uniform = qmc.Sobol(size, rng=np.random.default_rng(seed)).random_base2(exponent)[:pairs]
    normal = norm.ppf(np.clip(uniform, 1e-9, 1.0 - 1e-9))
    # Second moments of unity: opposite pairs make the first and third zero by themselves.
    values, vectors = np.linalg.eigh(normal.T @ normal / pairs)
    normal = normal @ (vectors / np.sqrt(values)) @ vectors.T
    moved = np.einsum("nm,mac->nac", np.concatenate([normal, -normal]), directions)
    return np.asarray(target.positions + moved)


@dataclass(frozen=True)
class Reference:
    """One measured channel of a molecule of known geometry.

    Attributes:
        label: as the user names it.
        molecule: name of the molecule.
        ions: N ions.
        target: the molecule, its atoms in the order of the ions.
        observed: what was measured.
        frame: the molecular frame in which momenta were averaged; None if the values are means
            over events, which do not depend on a frame.
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

    def predict(self, family: Family, parameters: FloatArray) -> FloatArray:
        """(s, K) predicted values for parameters (s, P); not numbers where the model fails."""
        return self._mean_over(self.draws, family, parameters)

    def correction(self, family: Family, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(K) what is added to predictions near one set of parameters (P), and its variance.

        What many structures change; and, where events are known, half of what their further
        spread can lengthen (`_lengthening`): anything between none and all of it.
        """
        at = parameters[None]
        many = self._mean_over(self.many, family, at)
        few = self._mean_over(self.draws, family, at)
        lengthening = self._lengthening(family, parameters)
        return (many - few)[0] + 0.5 * lengthening, np.square(lengthening) / 12.0

    def _lengthening(self, family: Family, parameters: FloatArray) -> FloatArray:
        """(K) what spread that the prediction lacks can add to the mean sizes.

        Events scatter more than vibrating structures do: by the resolution of the detector, and
        by everything that differs from explosion to explosion. Spread across a relative momentum
        k of variance s^2 per axis lengthens it by s^2 / k in the mean, spread along it does not;
        s^2 is the variance of the sizes that the prediction lacks.
        """
        if self.observed.variance is None:
            return np.zeros(len(self.pairs.names))
        count = len(self.many)
        given = self.many, np.repeat(parameters[None], count, axis=0)
        momenta = self._explosions(family, *given)
        atoms = momenta.shape[2]
        flat = momenta.reshape(-1, atoms, 3)
        mean = self.pairs.sizes(flat).mean(axis=0)
        variance = self.pairs.squares(flat).mean(axis=0) - np.square(mean)
        lacking = np.maximum(self.observed.variance - variance, 0.0)
        return np.asarray(lacking / np.maximum(mean, 1e-300))

    def errors(self, family: Family, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Covariances (s, K, K) of the prediction by the family's error, and by a relative error.

        Args:
            family: the forward models.
            parameters: (s, P) coordinates.

        Returns:
            That of `family.error`, and that of a relative error of one of the momenta.
        """
        positions = np.repeat(self.target.positions[None], len(parameters), axis=0)
        momenta = family.explode(self.fragments, positions, parameters)
        gradient = self.pairs.gradient(momenta)
        turned = gradient.transpose(0, 2, 1)
        own = gradient @ family.error(self.fragments, positions, parameters) @ turned
        return own, gradient @ relative_error(self.fragments, momenta) @ turned

    def _mean_over(
        self, structures: FloatArray, family: Family, parameters: FloatArray
    ) -> FloatArray:
        sets, count = len(parameters), len(structures)
        found = np.empty((sets, len(self.pairs.names)))
        step = max(1, BLOCK // count)
        for first in range(0, sets, step):
            part = parameters[first : first + step]
            given = np.tile(structures, (len(part), 1, 1)), np.repeat(part, count, axis=0)
            single = self._explosions(family, *given, sets=len(part))
            found[first : first + step] = self._average(single, len(part))
        return found

    def _explosions(
        self, family: Family, positions: FloatArray, parameters: FloatArray, *, sets: int = 1
    ) -> FloatArray:
        """(n, kicks, N, 3) momenta of single explosions, with the spread that the family knows."""
        momenta = family.explode(self.fragments, positions, parameters)
        if not isinstance(family, WithSpread):
            return momenta[:, None]
        return self._kicked(momenta, family.spread(self.fragments, positions, parameters), sets)

    def _kicked(self, momenta: FloatArray, spread: FloatArray, sets: int) -> FloatArray:
        """(n, kicks, N, 3) momenta of single explosions; the same kicks for every set."""
        count = len(momenta) // sets
        random = np.random.default_rng(7)
        normal = random.standard_normal((count, _KICKS // 2, *momenta.shape[1:]))
        normal = np.concatenate([normal, -normal], axis=1)
        normal /= np.sqrt(np.square(normal).mean(axis=(0, 1)))
        kicks = np.tile(normal, (sets, 1, 1, 1)) * spread[:, None]
        share = self.fragments.masses / self.fragments.masses.sum()
        kicks -= share[:, None] * kicks.sum(axis=2, keepdims=True)
        return np.asarray(momenta[:, None] + kicks)

    def _average(self, single: FloatArray, sets: int) -> FloatArray:
        """(sets, K) the values of the means of single explosions (n, kicks, N, 3)."""
        atoms = single.shape[2]
        if self.frame is None:
            sizes = self.pairs.sizes(single.reshape(-1, atoms, 3))
            return np.asarray(sizes.reshape(sets, -1, sizes.shape[1]).mean(axis=1))
        events = single.reshape(sets, -1, atoms, 3)
        failed = ~np.isfinite(events).all(axis=(1, 2, 3))
        usable = np.flatnonzero(~failed)
        found = np.full((sets, len(self.pairs.names)), np.nan)
        if len(usable):
            means = _frame_means(self.ions, self.frame, events[usable])
            found[usable] = self.pairs.sizes(means)
        return found


def _frame_means(ions: tuple[Ion, ...], frame: Frame, events: FloatArray) -> FloatArray:
    """(sets, N, 3) mean momenta in the molecular frame of events (sets, n, N, 3)."""
    sets, count = events.shape[:2]
    table = Coincidences.of(ions, events.reshape(sets * count, len(ions), 3))
    aligner = Aligner(ions, frame)
    # The lobes of like ions are found once, among the events of the first set.
    aligner.look([table.select(np.arange(count))])
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
        drawn = tuple(ground_state(target, DRAWS) for target in self.targets)
        object.__setattr__(self, "structures", drawn)

    def predict(self, family: Family, parameters: FloatArray) -> FloatArray:
        """(s, M) predicted values for parameters (s, P)."""
        known = _yields(family, self.label)
        columns = []
        for target, structures in zip(self.targets, self.structures, strict=True):
            count = len(structures)
            log_yield, _ = known.log_yield(
                Fragments.of(target.ions),
                np.tile(structures, (len(parameters), 1, 1)),
                np.repeat(parameters, count, axis=0),
            )
            each = log_yield.reshape(len(parameters), count)
            top = each.max(axis=1, keepdims=True)
            columns.append(top[:, 0] + np.log(np.exp(each - top).mean(axis=1)))
        return np.stack([column - columns[0] for column in columns[1:]], axis=1)

    def correction(self, family: Family, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Zeros (M): errors of yields are larger than what more structures would change."""
        del family, parameters
        size = len(self.targets) - 1
        return np.zeros(size), np.zeros(size)

    def errors(self, family: Family, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Covariances (s, M, M) by the family's error of yields; a relative error has none."""
        known = _yields(family, self.label)
        count, size = len(parameters), len(self.targets) - 1
        variances = []
        for target in self.targets:
            positions = np.repeat(target.positions[None], count, axis=0)
            _, error = known.log_yield(Fragments.of(target.ions), positions, parameters)
            variances.append(np.square(error))
        own = np.einsum("sm,mk->smk", np.stack(variances[1:], axis=1), np.eye(size))
        return own + variances[0][:, None, None], np.zeros((count, size, size))


def _yields(family: Family, where: str) -> WithYields:
    if not isinstance(family, WithYields):
        raise ComputationError(
            f"{family.name}: this model does not say how often charges occur",
            where=where,
            do="Leave out the yields, or describe the pulse as `kind: xray`.",
        )
    return family
