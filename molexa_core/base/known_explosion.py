"""What is known about the explosion of an experiment: the block `explosion` of `setup.yaml`.

One class for each kind of explosion. Every number may have an uncertainty (`15 +- 3`), and what is
left out is not known. A class is at once a block of the settings file, a part of the options of a
reconstruction and the argument of functions (`base.parameter`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

from molexa_core.base.errors import UsageError, listing
from molexa_core.base.forward_model import (
    BOHR_PER_UM,
    FLUENCE_RANGE,
    TAU,
    TAU_FS,
    ChargeBuildUp,
    ExplosionModel,
    ModelOptions,
    Pulse,
)
from molexa_core.base.parameter import Parameter, Parameters, parameters
from molexa_core.base.uncertain import MOST_RELATIVE, Uncertain

ExplosionKind = Literal["xray", "laser", "ion", "build_up", "classical", "instant"]
"""How the molecule is charged; `classical` and `instant` are the models of simulations, in which
nothing differs between atoms."""
Model = Literal["xray", "laser", "ion", "build_up", "classical", "instant", "unknown"]
"""What a call may say of the kind of explosion."""
KnownTransfer = Literal["neutral", "low", "full"]
"""The rules of electron transfer that an inversion can assume (`forward_model.TRANSFERS`)."""
_PULSE: Final = {name: one.parameter for name, one in parameters(Pulse).items()}
_FLUENCE: Final = replace(
    _PULSE["fluence_um2"],
    low=FLUENCE_RANGE[0] * BOHR_PER_UM**2,
    high=FLUENCE_RANGE[1] * BOHR_PER_UM**2,
)
_MODEL: Final = {name: one.parameter for name, one in parameters(ModelOptions).items()}
_BUILD_UP: Final = {name: one.parameter for name, one in parameters(ChargeBuildUp).items()}


@dataclass(frozen=True)
class XrayExplosion(Parameters):
    """What is known about an X-ray pulse and about the processes of the Monte-Carlo model.

    Attributes:
        photon_ev, energy_mj, duration_fs, focus_um, transmission, fluence_um2: as in
            `forward_model.Pulse`; None where it is not known.
        transfer, transfer_time_fs, recapture, double_auger, shake_off, focus: as in
            `forward_model.ModelOptions`; None where it is not known.

    Raises:
        UsageError: out of range, or pulse energy, focus or transmission beside the fluence.
    """

    kind: ClassVar[ExplosionKind] = "xray"

    photon_ev: Annotated[Uncertain | None, _PULSE["photon_ev"]] = None
    energy_mj: Annotated[Uncertain | None, _PULSE["energy_mj"]] = None
    duration_fs: Annotated[Uncertain | None, _PULSE["duration_fs"]] = None
    focus_um: Annotated[Uncertain | None, _PULSE["focus_um"]] = None
    transmission: Annotated[Uncertain | None, _PULSE["transmission"]] = None
    fluence_um2: Annotated[Uncertain | None, _FLUENCE] = None
    transfer: Annotated[KnownTransfer | None, _MODEL["transfer"]] = None
    transfer_time_fs: Annotated[Uncertain | None, _MODEL["transfer_time_fs"]] = None
    recapture: Annotated[bool | None, _MODEL["recapture"]] = None
    double_auger: Annotated[Uncertain | None, _MODEL["double_auger"]] = None
    shake_off: Annotated[Uncertain | None, _MODEL["shake_off"]] = None
    focus: Annotated[Literal["axis", "volume"] | None, _MODEL["focus"]] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive(self)
        both = [
            n for n in ("energy_mj", "focus_um", "transmission") if getattr(self, n) is not None
        ]
        if self.fluence_um2 is not None and both:
            raise UsageError(
                f"fluence_um2 is given beside {listing(both)}, which determine it",
                do="Keep one of them.",
            )

    @property
    def on_axis(self) -> Uncertain | None:
        """Fluence on the axis in photons per square micrometre, if it can be told.

        From the fluence itself, or from photon energy, pulse energy, focus and transmission, whose
        relative uncertainties add in quadrature (that of the focus counts twice).
        """
        if self.fluence_um2 is not None:
            return self.fluence_um2
        parts = (self.photon_ev, self.energy_mj, self.focus_um, self.transmission)
        photon, energy, focus, share = parts
        if photon is None or energy is None or focus is None or share is None:
            return None
        pulse = Pulse(
            photon_ev=photon.value,
            energy_mj=energy.value,
            focus_um=focus.value,
            transmission=share.value,
        )
        value = pulse.fluence * BOHR_PER_UM**2
        relative = math.hypot(
            photon.relative, energy.relative, 2.0 * focus.relative, share.relative
        )
        return Uncertain(value, min(relative, MOST_RELATIVE) * value)


@dataclass(frozen=True)
class LaserExplosion(Parameters):
    """What is known about a strong laser pulse.

    Attributes:
        duration_fs: full width at half maximum of the intensity; None where it is not known.
        wavelength_nm, intensity_w_cm2: for the record; the family does not depend on them.

    Raises:
        UsageError: out of range.
    """

    kind: ClassVar[ExplosionKind] = "laser"

    duration_fs: Annotated[
        Uncertain | None,
        Parameter(
            "duration of the laser pulse",
            "fs",
            1.0,
            2000.0,
            note="full width at half maximum of the intensity",
            option="--laser-fs",
        ),
    ] = None
    wavelength_nm: Annotated[
        Uncertain | None, Parameter("wavelength of the laser", "nm", 10.0, 1e5)
    ] = None
    intensity_w_cm2: Annotated[
        Uncertain | None, Parameter("peak intensity of the laser", "W/cm²", 1e10, 1e22)
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive(self)


@dataclass(frozen=True)
class IonExplosion(Parameters):
    """What is known about the impact of a fast highly charged ion; all for the record.

    Attributes:
        energy_mev_u: energy of the projectile per mass number.
        projectile_charge: its charge.

    Raises:
        UsageError: out of range.
    """

    kind: ClassVar[ExplosionKind] = "ion"

    energy_mev_u: Annotated[
        Uncertain | None, Parameter("energy of the projectile", "MeV/u", 1e-4, 1e4)
    ] = None
    projectile_charge: Annotated[
        Uncertain | None, Parameter("charge of the projectile", "", 1.0, 100.0)
    ] = None


@dataclass(frozen=True)
class BuildUpExplosion(Parameters):
    """What is known about the build-up of charges, whatever causes it.

    Attributes:
        tau_fs: window of the rise of all atoms but hydrogen.
        tau_width: width of the distribution of ln tau, in place of the uncertainty of `tau_fs`.
        hydrogen_tau_fs: window of the rise of hydrogen.
        onset_fs, hydrogen_onset_fs: when the charges begin to rise; only the difference matters.

    Raises:
        UsageError: out of range, or the width of tau twice.
    """

    kind: ClassVar[ExplosionKind] = "build_up"

    tau_fs: Annotated[Uncertain | None, TAU] = None
    tau_width: Annotated[
        float | None,
        Parameter(
            "width of ln tau",
            "",
            0.0,
            3.0,
            note="standard deviation, in place of an uncertainty of tau",
            option="--tau-width",
        ),
    ] = None
    hydrogen_tau_fs: Annotated[Uncertain | None, _BUILD_UP["hydrogen_tau_fs"]] = None
    onset_fs: Annotated[Uncertain | None, _BUILD_UP["onset_fs"]] = None
    hydrogen_onset_fs: Annotated[Uncertain | None, _BUILD_UP["hydrogen_onset_fs"]] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive(self)
        if self.tau_width is None:
            return
        if self.tau_fs is None:
            raise UsageError("tau_width is given without tau_fs", do="Give both.")
        if not self.tau_fs.is_exact:
            raise UsageError(
                f"tau_width is given beside an uncertainty of tau_fs ({self.tau_fs})",
                do="Keep one of them.",
            )

    @property
    def tau_relative(self) -> float:
        """Standard deviation of ln tau; 0 if it is exact or not known."""
        if self.tau_width is not None:
            return self.tau_width
        return 0.0 if self.tau_fs is None else self.tau_fs.relative


@dataclass(frozen=True)
class ClassicalExplosion(Parameters):
    """The classical model of simulations: charges rise exactly as `ChargeBuildUp` says.

    Attributes:
        tau_fs: window of the rise; None for the published one, `forward_model.TAU_FS`.
        hydrogen_tau_fs, onset_fs, hydrogen_onset_fs: as in `ChargeBuildUp`; None for its defaults.

    Raises:
        UsageError: out of range.
    """

    kind: ClassVar[ExplosionKind] = "classical"

    tau_fs: Annotated[Uncertain | None, TAU] = None
    hydrogen_tau_fs: Annotated[Uncertain | None, _BUILD_UP["hydrogen_tau_fs"]] = None
    onset_fs: Annotated[Uncertain | None, _BUILD_UP["onset_fs"]] = None
    hydrogen_onset_fs: Annotated[Uncertain | None, _BUILD_UP["hydrogen_onset_fs"]] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive(self)

    @property
    def window(self) -> Uncertain:
        """The window of the rise, fs."""
        return Uncertain(TAU_FS) if self.tau_fs is None else self.tau_fs

    @property
    def common(self) -> bool:
        """Whether all atoms rise alike."""
        apart = (self.hydrogen_tau_fs, self.onset_fs, self.hydrogen_onset_fs)
        return all(value is None for value in apart)


@dataclass(frozen=True)
class InstantExplosion(Parameters):
    """The simplest model of simulations: all charges are there at once, exactly."""

    kind: ClassVar[ExplosionKind] = "instant"


Kind = (
    XrayExplosion
    | LaserExplosion
    | IonExplosion
    | BuildUpExplosion
    | ClassicalExplosion
    | InstantExplosion
)
KINDS: Final[dict[ExplosionKind, type[Kind]]] = {
    of.kind: of
    for of in (
        XrayExplosion,
        LaserExplosion,
        IonExplosion,
        BuildUpExplosion,
        ClassicalExplosion,
        InstantExplosion,
    )
}
"""The class of each kind of explosion."""


def simulated(
    model: ExplosionModel,
    *,
    rises: ChargeBuildUp | None = None,
    pulse: Pulse | None = None,
    options: ModelOptions | None = None,
) -> Kind:
    """What is known about a simulated explosion: everything.

    Args:
        model: the forward model.
        rises: of `classical`; the published one if not given.
        pulse: of `mcmd`; the default one if not given.
        options: of `mcmd`; the default ones if not given. A rule of electron transfer that no
            inversion can assume (`none`, `pair`) counts as not known.
    """
    if model == "instant":
        return InstantExplosion()
    if model == "classical":
        given = ChargeBuildUp() if rises is None else rises
        plain = ChargeBuildUp(tau_fs=given.tau_fs)
        return ClassicalExplosion(
            **{
                field.name: Uncertain(value)
                for field in fields(given)
                if (value := getattr(given, field.name)) is not None
                and (field.name == "tau_fs" or value != getattr(plain, field.name))
            }
        )
    pulse, options = Pulse() if pulse is None else pulse, options or ModelOptions()
    names = [name for name in parameters(Pulse) if name != "fluence_um2"]
    if pulse.fluence_um2 is not None:
        names = ["photon_ev", "duration_fs", "fluence_um2"]
    values: dict[str, Any] = {name: Uncertain(getattr(pulse, name)) for name in names}
    for name in ("transfer_time_fs", "double_auger", "shake_off"):
        values[name] = Uncertain(getattr(options, name))
    if options.transfer in get_args(KnownTransfer):
        values["transfer"] = options.transfer
    return XrayExplosion(**values, recapture=options.recapture, focus=options.focus)


def block_of(told: Kind) -> dict[str, Any]:
    """The block `explosion` that says this, as plain values; what is not known is left out."""
    values = {field.name: getattr(told, field.name) for field in fields(told)}
    return {
        told.kind: {
            name: value.plain() if isinstance(value, Uncertain) else value
            for name, value in values.items()
            if value is not None
        }
    }


def _require_positive(block: Parameters) -> None:
    """Check that each uncertainty can be that of a positive number.

    Raises:
        UsageError: a number that is zero and yet uncertain.
    """
    for field in fields(block):  # type: ignore[arg-type]  # each class here is a dataclass
        value = getattr(block, field.name)
        if isinstance(value, Uncertain) and value.value == 0 and not value.is_exact:
            raise UsageError(
                f"{field.name} is {value}",
                setting=field.name,
                do="Write 0, or a value above 0 with its uncertainty, or leave it out.",
            )


_USUAL_XRAY: Final = (
    ("photon_ev", 12.0, 50_000.0, "eV", "keV"),
    ("energy_mj", 0.0, 30.0, "mJ", "µJ"),
    ("duration_fs", 0.05, 1000.0, "fs", "as or ps"),
)
"""What pulses of free-electron lasers have: from 12 eV on, near 10 mJ at most."""


def unusual(told: Kind | None) -> list[str]:
    """Sentences on numbers of an X-ray pulse that no free-electron laser has, as in a wrong unit.

    Example:
        >>> unusual(XrayExplosion(photon_ev=Uncertain(2.0)))
        ['photon_ev of the explosion is 2, which no free-electron laser has; is it in eV, not keV?']
    """
    if not isinstance(told, XrayExplosion):
        return []
    found = []
    for name, low, high, unit, other in _USUAL_XRAY:
        number = getattr(told, name)
        if number is not None and not low <= number.value <= high:
            found.append(
                f"{name} of the explosion is {number.value:g}, which no free-electron laser has; "
                f"is it in {unit}, not {other}?"
            )
    return found
