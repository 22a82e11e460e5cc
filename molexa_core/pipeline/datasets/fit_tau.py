"""The charge build-up of the classical model, fitted to a data set of the Monte-Carlo model.

The classical model lets all charges of a molecule rise together within a window tau. As in the
published work, tau is chosen so that its momenta differ least from those of the Monte-Carlo model:
the initial geometry of an entry is exploded into its charges, and the momenta are compared.

The published form of the rise is "a modified error function ... within a time window controlled by
tau". Two readings are compared: tau as the full window, which is what molexa uses
(`physics.coulomb.build_up.ErrorFunctionRise`), and erf(t / tau) word for word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from molexa_core.base.errors import NoEventsError
from molexa_core.base.forward_model import TAU_FS
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import ATOMIC_TIME_FS
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import BuildUp, ErrorFunctionRise, Instant
from molexa_core.pipeline.datasets.entries import EntryTable
from molexa_core.pipeline.datasets.read import read_dataset
from molexa_core.pipeline.datasets.recipe import recipe_of

SEARCH_FS: Final = (2.0, 200.0)
"""Range of the search for tau."""
DELAY_FS: Final = 20.0
"""Delay of the build-up for the comparison."""
BOOTSTRAP: Final = 400
_NEAR: Final = 0.1
"""Relative distance from the minimum of the two points of the parabola."""
ACCURACY: Final = "draft"
"""Accuracy of the explosions: the error of 4e-6 is far below the residuals."""


@dataclass(frozen=True)
class TauRow:
    """The deviation of one charge build-up from the data set.

    Attributes:
        label: description of the build-up.
        residual: mean over entries of |p - p'| / |p|, momenta of all ions together. The mean is
            used instead of the mean square, so that a few entries in which atoms pass each other
            in only one of the models do not dominate.
        median: median over entries of |p - p'| / |p|.
        energy_ratio: mean of the kinetic energy release divided by that of the data set.
    """

    label: str
    residual: float
    median: float
    energy_ratio: float


@dataclass(frozen=True)
class TauFit:
    """The fitted window.

    Attributes:
        tau_fs: tau with the smallest residual.
        tau_error_fs: standard error from resampling whole molecules.
        entries: number of entries that were exploded.
        rows: the fit, and other build-ups for comparison.
    """

    tau_fs: float
    tau_error_fs: float
    entries: int
    rows: tuple[TauRow, ...]


@dataclass(frozen=True, slots=True)
class LiteralErrorFunction:
    """f(t) = erf(t / tau): the other reading of the published form.

    Attributes:
        tau_fs: in femtosecond.
    """

    tau_fs: float

    def factor(self, time: Tensor) -> Tensor:
        """f(t)."""
        return torch.erf(time * (ATOMIC_TIME_FS / self.tau_fs))

    def rate(self, time: Tensor) -> Tensor:
        """Inverse width of the rise while it lasts."""
        reduced = time * (ATOMIC_TIME_FS / self.tau_fs)
        return torch.exp(-reduced.square()) * (2.0 * ATOMIC_TIME_FS / self.tau_fs)


@dataclass(frozen=True, slots=True)
class Delayed:
    """Another build-up that starts later.

    Attributes:
        rise: the build-up.
        delay_fs: by how much.
    """

    rise: BuildUp
    delay_fs: float

    def factor(self, time: Tensor) -> Tensor:
        """f(t - delay)."""
        return self.rise.factor(time - self.delay_fs / ATOMIC_TIME_FS)

    def rate(self, time: Tensor) -> Tensor:
        """Upper limit: as fast as the other build-up at most, also before the delay."""
        later = (time - self.delay_fs / ATOMIC_TIME_FS).clamp_min(0.0)
        return self.rise.rate(later)


def fit_tau(
    table: EntryTable,
    *,
    entries: int = 2000,
    masses: str = "isotope",
    seed: int = 0,
    progress: Progress = SILENT,
) -> TauFit:
    """Fit the window of the charge build-up.

    Args:
        table: entries of the data set.
        entries: largest number of entries that are exploded; they are drawn at random.
        masses: masses in the data set, `isotope` or `average`.
        seed: of that choice and of the resampling.
        progress: display of the progress.

    Raises:
        NoEventsError: no entries.
    """
    if len(table) == 0:
        raise NoEventsError("no entries to fit tau to", do="Choose another split.")
    random = np.random.default_rng(seed)
    rows = np.sort(random.permutation(len(table))[:entries])
    chosen = table.select(rows)
    with progress.task("fitting tau", None, "explosions") as task:

        def residuals(rise: BuildUp) -> FloatArray:
            task.advance(len(chosen))
            return _compare(chosen, rise, masses)[0]

        best = minimize_scalar(
            lambda tau: float(residuals(ErrorFunctionRise(tau)).mean()),
            bounds=SEARCH_FS,
            method="bounded",
            options={"xatol": 0.05},
        )
        tau = float(best.x)
        error = _resampled_error(chosen, tau, residuals, random)
        compared = (
            (f"tau = {tau:.1f} fs, fitted", ErrorFunctionRise(tau)),
            (f"tau = {TAU_FS:g} fs, published", ErrorFunctionRise(TAU_FS)),
            ("instant", Instant()),
            (f"fitted, starting {DELAY_FS:g} fs later", Delayed(ErrorFunctionRise(tau), DELAY_FS)),
            (f"erf(t / {TAU_FS:g} fs), word for word", LiteralErrorFunction(TAU_FS)),
        )
        found = []
        for label, rise in compared:
            residual, ratio = _compare(chosen, rise, masses)
            task.advance(len(chosen))
            found.append(
                TauRow(
                    label,
                    float(residual.mean()),
                    float(np.median(residual)),
                    float(ratio.mean()),
                )
            )
    return TauFit(tau, error, len(chosen), tuple(found))


def fit_tau_folder(
    folder: Path | str,
    *,
    entries: int = 2000,
    split: str = "train",
    seed: int = 0,
    progress: Progress = SILENT,
) -> TauFit:
    """Fit the window of the charge build-up to the data set in a folder.

    Raises:
        InputFileError: no data set.
        UsageError: no such split.
        NoEventsError: no entries in the split.
    """
    masses = recipe_of(folder).model.masses
    table = read_dataset(folder, split)
    return fit_tau(table, entries=entries, masses=masses, seed=seed, progress=progress)


def _compare(table: EntryTable, rise: BuildUp, masses: str) -> tuple[FloatArray, FloatArray]:
    """For each entry |p - p'| / |p|, and the ratio of the kinetic energy releases."""
    residual, ratio = np.empty(len(table)), np.empty(len(table))
    sizes = table.atoms
    for atoms in np.unique(sizes):
        rows = np.flatnonzero(sizes == atoms)
        charge = table.charges[rows, :atoms].astype(np.float64)
        mass = _masses(table.numbers[rows, :atoms], masses) - charge
        truth = table.momenta[rows, :atoms].astype(np.float64)
        model = explode_many(
            table.positions[rows, :atoms].astype(np.float64),
            charge,
            mass,
            build_up=rise,
            accuracy=ACCURACY,
        )
        residual[rows] = np.sqrt(((model - truth) ** 2).sum((1, 2)) / (truth**2).sum((1, 2)))
        energy = [((p**2).sum(2) / mass).sum(1) for p in (model, truth)]
        ratio[rows] = energy[0] / energy[1]
    return residual, ratio


def _masses(numbers: NDArray[np.uint8], masses: str) -> FloatArray:
    lookup = np.zeros(256)
    for number in np.unique(numbers):
        known = BY_NUMBER[int(number)]
        lookup[number] = known.average_mass if masses == "average" else known.isotope_mass
    return lookup[numbers]


def _resampled_error(
    table: EntryTable,
    tau: float,
    residuals: Callable[[BuildUp], FloatArray],
    random: np.random.Generator,
) -> float:
    """Standard error of the minimum, by a bootstrap over whole molecules.

    Entries of one molecule are not independent. Near the minimum the mean residual is approximated
    by a parabola through three points.
    """
    points = tau * np.array([1.0 - _NEAR, 1.0, 1.0 + _NEAR])
    values = np.stack([residuals(ErrorFunctionRise(point)) for point in points])
    names = np.unique(table.molecule)
    place = np.searchsorted(names, table.molecule)
    sums = np.stack([np.bincount(place, value, len(names)) for value in values])
    drawn = random.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=BOOTSTRAP)
    low, middle, high = sums @ drawn.T
    curvature = high - 2.0 * middle + low
    shift = np.where(curvature > 0, 0.5 * (low - high) / np.where(curvature > 0, curvature, 1), 0.0)
    return float(tau * _NEAR * np.clip(shift, -3.0, 3.0).std())
