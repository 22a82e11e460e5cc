"""Charges that rise with time, hydrogens apart, with screened pairs.

All atoms but hydrogens have a rise with the window tau (`coulomb.build_up.ErrorFunctionRise`);
hydrogens have a window and an onset of their own. Atoms of one molecule differ from these two: in
ln tau and in the onset over tau, at random and each by itself; what that does to the momenta is the
family's error, by linear propagation.

The prior. A Gaussian pulse of full width D has, as its integral, a rise of the window
6.3 sqrt(2) D / 2.355 = 3.8 D: 4 to 230 fs for pulses of 1 to 60 fs, if each atom absorbs at a
constant rate. Auger cascades add delays of the lifetimes of the holes, 2 to 10 fs for K holes of
F to C and L holes of S and Cl (widths of 0.06 to 0.3 eV), in several steps: a short pulse still
has a window of 15 to 40 fs. Saturation takes away: where each atom absorbs several photons, or
gives its electrons to a neighbour that does, most of its charge is there in the first half of the
pulse. At 2 keV, 15 fs and 3e12 photons per square micrometre the Monte-Carlo model is met by 45 fs
instead of 57. So 40 fs within a factor 2.3 is taken: 17 to 92 fs with 68 per cent probability, 8 to
200 fs with 95, which also holds the time in which strong lasers of 5 to 50 fs ionize. Hydrogens
absorb nothing; neighbours take their electron as soon as they have lost one or two themselves, so
that their rise begins with the others and takes between a third and all of their window. Atoms of
other elements differ less: those that absorb little are fed by those that absorb, within a few
femtoseconds; the spread makes momenta uncertain by the few per cent by which the Monte-Carlo model
differs from a common rise. What is left of bonds lowers the energy of a pair at the distance of its
bond by 0 to 7 per cent at the charges at which molecules are imaged; more at charges of 1 or 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from molexa_core.base.belief import Belief, Coordinate
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.base.units import ATOMIC_TIME_FS
from molexa_core.physics.coulomb.batches import rise_law
from molexa_core.physics.coulomb.build_up import LEAST_TAU_FS
from molexa_core.physics.coulomb.follow import Charging, Directions
from molexa_core.physics.coulomb.tangents import RISES
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.family.point_charges import SCREENING, PointCharges, bare, least_error

TAU: Final = Coordinate("tau_fs", "window of the rise of the charges", "fs")
HYDROGEN_WINDOW: Final = Coordinate(
    "hydrogen_window", "window of the rise of hydrogens over that of the others"
)
HYDROGEN_ONSET: Final = Coordinate(
    "hydrogen_onset",
    "onset of hydrogens after the others, over the window of the others",
    scale="linear",
)


@dataclass(frozen=True)
class BuildUpFamily(PointCharges):
    """Charges that rise with time.

    Coordinates: ln tau in fs, ln(tau_H / tau), (onset of hydrogens - onset of the others) / tau,
    screening.

    Attributes:
        window_spread: standard deviation of ln tau between the atoms of a molecule. These two are
            small, since momenta are means over many explosions: like atoms in like places have the
            same rise. Their linear propagation is good to 20 per cent of the error.
        onset_spread: standard deviation of their onsets over tau.
        smallest_error: error of each momentum component that is left in any case, over the rms
            component.
            Electrons go in whole numbers, at random and from neighbour to neighbour; no rise of
            mean charges meets the means of the Monte-Carlo model to better than 1 per cent, also
            not in the directions in which windows and onsets change nothing.
    """

    window_spread: float = 0.1
    onset_spread: float = 0.03
    smallest_error: float = 0.01

    @property
    def name(self) -> str:
        """In words, for results."""
        return "charges that rise with time"

    @property
    def coordinates(self) -> tuple[Coordinate, ...]:
        """Window, window and onset of hydrogens, screening."""
        return (TAU, HYDROGEN_WINDOW, HYDROGEN_ONSET, SCREENING)

    def charging(self, fragments: Fragments, parameters: FloatArray) -> Charging:
        """How the charges rise at coordinates (n, P)."""
        own, tau, onset = _rises(fragments, parameters)
        law = np.stack(rise_law(tau, onset), axis=2).reshape(len(tau), 2 * tau.shape[1])
        whole = bare(fragments, parameters[:, 3])
        return replace(whole, kind=RISES, rise=own, law=law, numbers=2)

    def along_parameters(self, fragments: Fragments, parameters: FloatArray) -> Directions:
        """How the charging changes with each of the P coordinates."""
        own, tau, onset = _rises(fragments, parameters)
        rate = rise_law(tau, onset)[1]
        weights = np.zeros((len(parameters), 4, len(fragments), 2))
        weights[:, 0, :, 1] = -rate[:, own]  # onsets are proportional to the windows
        for i, symbol in enumerate(fragments.symbols):
            if symbol == "H":
                r = rate[:, own[i]]
                weights[:, 1, i, 0] = -r * onset[:, own[i]]
                weights[:, 1, i, 1] = -r
                weights[:, 2, i, 0] = r * _window(parameters[:, 0])
        screens = np.zeros((1, 4))
        screens[0, 3] = 1.0
        return Directions(weights, screens)

    def error(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        """(n, 3 N, 3 N) covariance, in a.u.: differences between atoms, and the least error."""
        between = self.between_atoms(fragments, parameters)
        momenta, changes = self.follow(fragments, positions, parameters, directions=between)
        return np.asarray(changes @ changes.transpose(0, 2, 1)) + least_error(
            momenta, self.smallest_error
        )

    def between_atoms(self, fragments: Fragments, parameters: FloatArray) -> Directions:
        """Windows and onsets of each atom, by one standard deviation."""
        own, tau, onset = _rises(fragments, parameters)
        rate = rise_law(tau, onset)[1]
        atoms = len(fragments)
        weights = np.zeros((len(parameters), 2 * atoms, atoms, 2))
        for i in range(atoms):
            r = rate[:, own[i]]
            weights[:, 2 * i, i, 0] = -r * onset[:, own[i]] * self.window_spread
            weights[:, 2 * i, i, 1] = -r * self.window_spread
            weights[:, 2 * i + 1, i, 0] = r * _window(parameters[:, 0]) * self.onset_spread
        return Directions(weights, np.zeros((1, 2 * atoms)))


def _rises(fragments: Fragments, parameters: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Which rise each atom has, and windows and onsets (n, rises) in atomic units of time.

    The first onset is 0.
    """
    light = np.array([symbol == "H" for symbol in fragments.symbols])
    tau = _window(parameters[:, 0])
    own: IntArray = light.astype(np.int64)
    after = parameters[:, 2] * tau
    windows = [tau, _window(parameters[:, 0] + parameters[:, 1])]
    onsets = [np.maximum(-after, 0.0), np.maximum(after, 0.0)]
    if light.all() or not light.any():
        one = own[0]
        return own - one, windows[one][:, None], np.zeros((len(tau), 1))
    return own, np.stack(windows, axis=1), np.stack(onsets, axis=1)


def _window(logarithm: FloatArray) -> FloatArray:
    """Atomic units of time."""
    return np.maximum(np.exp(logarithm), LEAST_TAU_FS) / ATOMIC_TIME_FS


BUILD_UP_PRIOR: Final = Belief.independent(
    (TAU.name, HYDROGEN_WINDOW.name, HYDROGEN_ONSET.name, SCREENING.name),
    (math.log(40.0), math.log(0.6), 0.05, 0.05),
    (math.log(2.3), math.log(1.6), 0.12, 0.1),
)
"""For an explosion of which nothing is known, or in X-rays of any kind."""
