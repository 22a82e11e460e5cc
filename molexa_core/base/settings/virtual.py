"""The `virtual` block of `setup.yaml`: effects included in a virtual experiment.

Every effect has a neutral value that switches it off.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from molexa_core.base.forward_model import TAU, TAU_FS, ExplosionModel, ModelOptions, Pulse
from molexa_core.base.settings.schema import Fraction, IonName, NotNegative, Positive, Schema

PerShot = Annotated[float, Field(ge=0, le=1000)]
"""A mean number per shot."""


class ResidualIon(Schema):
    """A residual-gas ion: room-temperature, from anywhere along the light beam.

    Attributes:
        ion: which, such as `H2O+`.
        per_shot: mean number per shot.
    """

    ion: IonName
    per_shot: PerShot


class WireSignals(Schema):
    """Imperfections of the signals at the wire ends (runs of edges).

    Attributes:
        anode_jitter_ns, mcp_jitter_ns: standard deviation of the time of each signal.
        missing: probability that a signal is not recorded, each on its own.
        noise_per_shot: mean number of edges per shot and channel that no hit made.
        walk_ns: the time sum of a layer is longer by up to this where the pulse has run far, as
            the square of the position over the radius of the plate.
        bend_mm: largest deviation of a layer's position from a straight line.
        pile_up_ns: an edge comes so much too late at the end of the dead time of the one before
            it, on whose tail it rides.
        pile_up_decay_ns: time in which this shift decays.
        bin_ns: width of a bin of the TDC.
    """

    anode_jitter_ns: NotNegative = 0.1
    mcp_jitter_ns: NotNegative = 0.06
    missing: Fraction = 0.03
    noise_per_shot: PerShot = 0.01
    walk_ns: float = 0.4
    bend_mm: float = 0.2
    pile_up_ns: float = 0.1
    pile_up_decay_ns: Positive = 10.0
    bin_ns: Positive = 0.025


class VirtualExperiment(Schema):
    """Imperfections of a virtual experiment beyond those of detector and jet.

    Attributes:
        molecules_per_shot: mean of the Poisson distribution of exploding molecules per shot.
        statistics: `poisson`, or `one` for exactly one molecule in every shot.
        orientation: `random` (uniform over all rotations) or `fixed` (as in the geometry).
        zero_point: `modes` samples the harmonic ground state where normal modes are known and
            falls back on `gaussian`; `gaussian` displaces each atom by `zero_point_sigma_bohr`
            times sqrt(1 u / mass) per axis; `off` explodes the equilibrium geometry.
        zero_point_sigma_bohr: see `zero_point`.
        explosion: `instant` and `classical`: every molecule breaks into the ions of the channel,
            its charges being there at once or rising within `tau_fs`. `mcmd`: in an X-ray pulse,
            by the Monte-Carlo model; the charges differ from shot to shot, and only molecules that
            happen to break into the ions of the channel are its coincidences.
        pulse, model: pulse and switches for `mcmd`.
        tau_fs: window of the charge build-up for `classical`.
        interaction_size_mm: standard deviations of the point of interaction along x, y, z.
        efficiency: detection efficiency per ion; others have `detection_efficiency`.
        residual_gas: residual-gas ions.
        residual_gas_temperature_k: their temperature.
        dark_counts_per_shot: mean number of hits per shot that no ion made.
        window_ns: length of the acquisition window, in which dark counts fall.
        signals: what happens to the signals at the wire ends, for runs of edges.
    """

    molecules_per_shot: PerShot = 0.3
    statistics: Literal["poisson", "one"] = "poisson"
    orientation: Literal["random", "fixed"] = "random"
    zero_point: Literal["modes", "gaussian", "off"] = "modes"
    zero_point_sigma_bohr: NotNegative = 0.13
    explosion: ExplosionModel = "classical"
    pulse: Pulse = Pulse()
    model: ModelOptions = ModelOptions()
    tau_fs: Annotated[float, TAU] = Field(default=TAU_FS, ge=TAU.low, le=TAU.high)
    interaction_size_mm: tuple[NotNegative, NotNegative, NotNegative] = (0.3, 0.05, 0.05)
    efficiency: dict[IonName, Fraction] = Field(default_factory=dict)
    residual_gas: tuple[ResidualIon, ...] = (
        ResidualIon(ion="H2O+", per_shot=0.02),
        ResidualIon(ion="H+", per_shot=0.02),
        ResidualIon(ion="(N2)+", per_shot=0.01),
    )
    residual_gas_temperature_k: NotNegative = 300.0
    dark_counts_per_shot: PerShot = 0.02
    window_ns: float = Field(default=12000.0, gt=0)
    signals: WireSignals = WireSignals()
