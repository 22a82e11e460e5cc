"""Parameters of simulated explosions: X-ray pulse, Monte-Carlo model, charge build-up.

Each class is at once the argument of the functions that explode molecules, the block of settings
files and recipes, and the options of the command line (`base.parameter`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from molexa_core.base.errors import UsageError
from molexa_core.base.matter.isotopes import Masses
from molexa_core.base.parameter import Parameter, Parameters
from molexa_core.base.units import (
    ATOMIC_TIME_FS,
    BOHR_ANGSTROM,
    HARTREE_EV,
    HARTREE_JOULE,
)

ExplosionModel = Literal["instant", "classical", "mcmd"]
"""`instant`: all charges at once; `classical`: they rise together; `mcmd`: Monte Carlo."""
TAU: Final = Parameter(
    "window of the charge build-up",
    unit="fs",
    low=1e-3,
    high=1e5,
    note="10 to 90 % in about 0.29 of it",
    option="--tau-fs",
)
TAU_FS: Final = 45.0
"""Default of `TAU`, as published."""
Transfer = Literal["none", "neutral", "low", "full", "pair"]
TRANSFERS: Final[dict[Transfer, str]] = {
    "none": "no electron changes its atom",
    "neutral": "neutral atoms give electrons, over the barrier in the field of all ions",
    "low": "neutral and singly charged atoms give electrons, in the field of all ions",
    "full": "all atoms give electrons, in the field of all ions",
    "pair": "all atoms give electrons, to ions within the critical distance of an isolated pair",
}
"""The rules of electron transfer."""
Focus = Literal["axis", "volume"]
MASSES: Final = Parameter(
    "kind of masses", note="most abundant isotopes, or average atomic weights", option="--masses"
)
SIGMA_PER_FWHM: Final = 1.0 / math.sqrt(8.0 * math.log(2.0))
"""Standard deviation of a Gaussian over its full width at half maximum."""
FLUENCE_RANGE: Final = (1e-6, 1e8)
"""Photons per bohr^2 that can be meant: below, no molecule absorbs; above, one photon energy in a
thousand cubic bohr is a field in which atoms do not keep their levels. 1 mJ at 2 keV in 1 um gives
7.7e3."""
BOHR_PER_UM: Final = 1e4 / BOHR_ANGSTROM
"""Bohr radii in a micrometre."""


@dataclass(frozen=True)
class Pulse(Parameters):
    """One X-ray pulse, Gaussian in time and across the focus.

    On the axis a pulse of n photons in a focus of FWHM w brings n T 4 ln 2 / (pi w^2) photons per
    area, T being the transmission.

    Attributes:
        photon_ev: photon energy, eV.
        energy_mj: energy of the pulse, millijoule.
        duration_fs: FWHM in time, femtosecond.
        focus_um: FWHM of the focus, micrometre, the same in both directions.
        transmission: share of the pulse that reaches the focus.
        fluence_um2: photons per square micrometre on the axis; if given, pulse energy, focus and
            transmission are ignored.

    Raises:
        UsageError: a value that is not a number, or out of range.
    """

    photon_ev: Annotated[
        float, Parameter("photon energy", unit="eV", low=1.0, high=1e6, option="--photon-ev")
    ] = 2000.0
    energy_mj: Annotated[
        float,
        Parameter("energy of the pulse", unit="mJ", low=1e-15, high=1e6, option="--pulse-mj"),
    ] = 1.0
    duration_fs: Annotated[
        float,
        Parameter(
            "duration of the pulse",
            "fs",
            0.01,
            2000.0,
            note="full width at half maximum",
            option="--pulse-fs",
        ),
    ] = 15.0
    focus_um: Annotated[
        float,
        Parameter(
            "size of the focus",
            "µm",
            1e-3,
            1e6,
            note="full width at half maximum",
            option="--focus-um",
        ),
    ] = 1.0
    transmission: Annotated[
        float,
        Parameter("share of the pulse that reaches the focus", "", 1e-9, 1.0, "", "--transmission"),
    ] = 1.0
    fluence_um2: Annotated[
        float | None,
        Parameter(
            "fluence on the axis",
            "photons/µm²",
            note="in place of pulse energy, focus and transmission",
            option="--fluence",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = FLUENCE_RANGE
        if not low <= self.fluence <= high:
            per_um2 = BOHR_PER_UM**2
            raise UsageError(
                f"the pulse has {self.fluence * per_um2:.3g} photons/µm² on its axis",
                do=f"Between {low * per_um2:.3g} and {high * per_um2:.3g} can be computed; "
                "check pulse energy, focus and transmission.",
            )

    @property
    def photons(self) -> float:
        """Photons in the whole pulse that reach the focus."""
        joule = self.photon_ev / HARTREE_EV * HARTREE_JOULE
        return self.energy_mj * 1e-3 * self.transmission / joule

    @property
    def fluence(self) -> float:
        """Photons per bohr^2 on the axis."""
        if self.fluence_um2 is not None:
            return self.fluence_um2 / BOHR_PER_UM**2
        area = math.pi * (self.focus_um * BOHR_PER_UM) ** 2 / (4.0 * math.log(2.0))
        return self.photons / area

    @property
    def photon(self) -> float:
        """Photon energy, hartree."""
        return self.photon_ev / HARTREE_EV

    @property
    def sigma(self) -> float:
        """Standard deviation in time, atomic units."""
        return self.duration_fs / ATOMIC_TIME_FS * SIGMA_PER_FWHM


@dataclass(frozen=True)
class ChargeBuildUp(Parameters):
    """How the charges of the classical model build up, hydrogen apart from the other atoms.

    Each charge rises as (1 + erf(6.3 ((t - onset) / tau - 1/2))) / 2. Only the difference of the
    onsets matters. By default all charges rise together within `TAU_FS`.

    Attributes:
        tau_fs: window of the rise, femtosecond.
        hydrogen_tau_fs: window of the rise of hydrogen; that of the others where not given.
        onset_fs: when the charges of all atoms but hydrogen begin to rise.
        hydrogen_onset_fs: when those of hydrogen do.

    Raises:
        UsageError: a value out of range.
    """

    tau_fs: Annotated[float, TAU] = TAU_FS
    hydrogen_tau_fs: Annotated[
        float | None,
        Parameter(
            "window of the charge build-up of hydrogen",
            "fs",
            0.0,
            1e5,
            note="that of the other atoms where not given",
            option="--hydrogen-tau-fs",
        ),
    ] = None
    onset_fs: Annotated[
        float,
        Parameter(
            "start of the charge build-up of all atoms but hydrogen",
            "fs",
            0.0,
            1e5,
            option="--onset-fs",
        ),
    ] = 0.0
    hydrogen_onset_fs: Annotated[
        float,
        Parameter(
            "start of the charge build-up of hydrogen",
            "fs",
            0.0,
            1e5,
            option="--hydrogen-onset-fs",
        ),
    ] = 0.0


@dataclass(frozen=True)
class ModelOptions(Parameters):
    """Processes included in the Monte-Carlo model, and its time grid.

    Attributes:
        transfer: the rule of electron transfer, one of `TRANSFERS`.
        transfer_time_fs: mean time until an electron goes over a barrier that is open,
            femtosecond; 0 means at once.
        recapture: electrons too slow to leave the field of the other ions are captured by them.
        double_auger: probability that an Auger decay of an inner hole releases a second electron.
        shake_off: probability that the ionization of an inner subshell releases a second electron.
        focus: `axis`, or `volume`: every trajectory draws its fluence as it occurs in a
            two-dimensional Gaussian focus, dP ~ dF / F.
        lowest_fluence: with `volume`, the lowest fluence drawn, relative to that on the axis.
        masses: `isotope` (most abundant) or `average` (standard atomic weight).
        step_fs: length of a step in the pulse, femtosecond.
        growth: growth of the steps behind the pulse, per time passed.
        until_fs: end of the trajectory, femtosecond after the peak; the momentum that is gained
            later is added in closed form.
        accuracy: longest step in units of the shortest time scale of the motion; longer steps of
            the grid are divided.

    Raises:
        UsageError: an unknown name or a value out of range.
    """

    transfer: Annotated[
        Transfer, Parameter("rule which atoms give electrons", option="--transfer")
    ] = "neutral"
    transfer_time_fs: Annotated[
        float,
        Parameter("mean time of a transfer", "fs", 0.0, 1e4, "0: at once", "--transfer-fs"),
    ] = 1.0
    recapture: Annotated[
        bool, Parameter("capture of slow electrons by the ions", option="--recapture")
    ] = False
    double_auger: Annotated[
        float,
        Parameter("share of Auger decays with two electrons", "", 0.0, 1.0, "", "--double-auger"),
    ] = 0.0
    shake_off: Annotated[
        float,
        Parameter("share of ionizations with two electrons", "", 0.0, 1.0, "", "--shake-off"),
    ] = 0.0
    focus: Annotated[
        Focus,
        Parameter("place in the focus", note="on its axis, or averaged over it", option="--focus"),
    ] = "axis"
    lowest_fluence: Annotated[
        float, Parameter("lowest fluence relative to that on the axis", "", 1e-6, 0.999)
    ] = 0.01
    masses: Annotated[Masses, MASSES] = "isotope"
    step_fs: Annotated[float, Parameter("step in the pulse", "fs", 1e-3, 10.0)] = 0.1
    growth: Annotated[float, Parameter("growth of the steps behind the pulse", "", 1e-4, 0.5)] = (
        0.02
    )
    until_fs: Annotated[float, Parameter("end of a trajectory", "fs", 1.0, 1e6)] = 1000.0
    accuracy: Annotated[
        float, Parameter("longest step in units of the time scale of the motion", "", 1e-3, 0.5)
    ] = 0.1

    @property
    def transfer_time(self) -> float:
        """`transfer_time_fs` in atomic units."""
        return self.transfer_time_fs / ATOMIC_TIME_FS
