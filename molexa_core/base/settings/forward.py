"""Pulse and model of a Monte-Carlo explosion, as settings files and recipes state them.

The keys are the arguments of `physics.mcmd.pulse.Pulse` and `physics.mcmd.options.Options`, which
check the values once more against what can be computed.
"""

from __future__ import annotations

from typing import Literal

from molexa_core.base.settings.schema import Fraction, NotNegative, Positive, Schema


class PulseSettings(Schema):
    """An X-ray pulse.

    Attributes:
        photon_ev: photon energy.
        energy_mj: energy of the pulse.
        duration_fs: full width at half maximum in time.
        focus_um: full width at half maximum of the focus.
        transmission: share of the pulse that reaches the focus.
        fluence_um2: photons per square micrometre on the axis, in place of the energy and focus.
    """

    photon_ev: Positive = 2000.0
    energy_mj: Positive = 1.0
    duration_fs: Positive = 15.0
    focus_um: Positive = 1.0
    transmission: Fraction = 1.0
    fluence_um2: Positive | None = None


class ModelSettings(Schema):
    """Switches of the model.

    Attributes:
        transfer: which atoms give electrons over the barrier.
        transfer_time_fs: mean time until an electron goes over an open barrier; 0 for at once.
        recapture: slow electrons are captured by the ions.
        double_auger, shake_off: probability of a second electron.
        focus: on the axis of the focus, or averaged over its volume.
        lowest_fluence: with `volume`, the lowest fluence relative to that on the axis.
        masses: most abundant isotopes or standard atomic weights.
        step_fs, growth, until_fs, accuracy: how finely time is cut, and how far.
    """

    transfer: Literal["none", "neutral", "low", "full", "pair"] = "neutral"
    transfer_time_fs: NotNegative = 1.0
    recapture: bool = False
    double_auger: Fraction = 0.0
    shake_off: Fraction = 0.0
    focus: Literal["axis", "volume"] = "axis"
    lowest_fluence: Fraction = 0.01
    masses: Literal["isotope", "average"] = "isotope"
    step_fs: Positive = 0.1
    growth: Positive = 0.02
    until_fs: Positive = 1000.0
    accuracy: Positive = 0.1
