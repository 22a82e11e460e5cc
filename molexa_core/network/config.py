"""Settings of networks, samplers and trainings: one frozen dataclass each, and the presets.

`paper` is the published network (Li et al., Nat. Commun. 2026, Supplementary Note 1 and
Methods). `molexa` is the network that ships. `told` is the same network with what is known of the
experiment as a further input.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Final, Literal

from molexa_core.base.errors import UsageError, WeightsError, listing, near_matches
from molexa_core.base.matter.elements import ELEMENTS as KNOWN_ELEMENTS
from molexa_core.base.storage.bounded import MisfitError, Within, from_values

ELEMENTS: Final = ("H", "C", "N", "O", "F", "Si", "P", "S", "Cl")
"""The elements of the published training sets."""


@dataclass(frozen=True)
class SamplerSettings:
    """The reverse diffusion (Karras et al. 2022, algorithm 2).

    Attributes:
        steps: number of denoising steps.
        sigma_max, sigma_min, rho: noise levels, in units of the scaled positions (equation 5).
        churn: factor gamma by which the noise level is raised before a step ...
        churn_from, churn_to: ... while it lies between these levels.
        churn_noise: standard deviation of the noise that is then added.
        second_order: whether to apply Heun's correction.
        multistep: whether to extrapolate from the step before (Lu et al. 2022, "DPM-Solver++",
            algorithm 2): second order at one evaluation per step.
        extrapolation: factor of that extrapolation: with 1 the samples converge to the limit of
            many steps, 0 is Euler's method; in between the samples scatter less than in the
            limit.
        corrected: whether multistep makes every step anew with the denoised positions at its end,
            which the next step needs anyway (Zhao et al. 2023, "UniPC"): third order.
        centred: whether the start is noise about the mean of all structures that are possible,
            which the first evaluation gives; otherwise noise about zero, from which samples come
            out too small by the mean over sigma_max, in units of their scatter.
    """

    steps: Annotated[int, Within(1, 256)]
    sigma_max: Annotated[float, Within(1e-3, 1e4)] = 80.0
    sigma_min: Annotated[float, Within(1e-6, 1e2)] = 0.002
    rho: Annotated[float, Within(0.1, 100)] = 7.0
    churn: Annotated[float, Within(0, 1e4)] = 0.0
    churn_from: Annotated[float, Within(0, 1e4)] = 0.0
    churn_to: Annotated[float, Within(0, 1e4)] = 0.0
    churn_noise: Annotated[float, Within(0, 100)] = 1.0
    second_order: bool = False
    multistep: bool = False
    extrapolation: Annotated[float, Within(0, 2)] = 1.0
    corrected: bool = False
    centred: bool = False


@dataclass(frozen=True)
class NetworkSettings:
    """Size and layout of a network.

    Attributes:
        tokens: `pairs`: all N x N ordered pairs of atoms are the tokens (published layout);
            `atoms`: atoms are the tokens, pair features enter as attention bias and values.
        width, heads: of the attention blocks.
        dynamics_blocks, denoiser_blocks, uncertainty_blocks: blocks of the three modules.
        embedding: width of the embeddings of element, charge and momentum (pairs) or of the pair
            features (atoms).
        memory: gated memory between blocks (pairs layout); plain skip connections otherwise.
        scaling: unit of the positions: `box`, the fixed half-widths of the published training
            set; `energy`, the length that follows from the kinetic energy release.
        sigma_data: standard deviation of the scaled positions.
        uncertainty_bins, uncertainty_bin_width: bins of the predicted error, bohr.
        max_atoms: largest molecule of the training.
        max_charge: largest charge of an ion in the training.
        elements: elements of the training.
        sampler: default sampler.
        told: whether what is told of the experiment is an input (atoms layout).
    """

    tokens: Literal["pairs", "atoms"]
    width: Annotated[int, Within(1, 4096)]
    heads: Annotated[int, Within(1, 256)]
    dynamics_blocks: Annotated[int, Within(0, 256)]
    denoiser_blocks: Annotated[int, Within(0, 256)]
    uncertainty_blocks: Annotated[int, Within(0, 256)]
    embedding: Annotated[int, Within(1, 1024)]
    memory: bool
    scaling: Literal["box", "energy"]
    sigma_data: Annotated[float, Within(1e-6, 1e3)]
    sampler: SamplerSettings
    uncertainty_bins: Annotated[int, Within(2, 10_000)] = 200
    uncertainty_bin_width: Annotated[float, Within(1e-6, 100)] = 0.05
    max_atoms: Annotated[int, Within(1, 64)] = 9
    max_charge: Annotated[int, Within(1, 118)] = 8
    elements: Annotated[tuple[str, ...], Within(1, 118)] = ELEMENTS
    told: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> NetworkSettings:
        """Settings from the values of `to_dict`, all of them checked.

        Raises:
            WeightsError: a key is unknown or missing, or a value is impossible.
        """
        try:
            found = from_values(cls, values, name="network")
            found.require_possible()
        except MisfitError as error:
            raise WeightsError(str(error)) from error
        return found

    def require_possible(self) -> None:
        """Check that the settings do not contradict each other.

        Raises:
            MisfitError: two settings contradict each other.
        """
        if self.width % self.heads:
            raise MisfitError(f"network: {self.heads} heads do not divide a width of {self.width}")
        if unknown := [name for name in self.elements if name not in KNOWN_ELEMENTS]:
            raise MisfitError(f"network -> elements: unknown {listing(unknown)}")
        if len(set(self.elements)) < len(self.elements):
            raise MisfitError("network -> elements: one stands there twice")
        if self.told and self.tokens != "atoms":
            raise MisfitError("network: only the layout `atoms` can be told the experiment")
        if not self.sampler.sigma_min < self.sampler.sigma_max:
            raise MisfitError("network -> sampler: sigma_min is not below sigma_max")

    @property
    def least_values(self) -> int:
        """Lower bound of the number of trained values of such a network.

        Every block has at least the matrices of queries, keys, values and output.
        """
        blocks = self.dynamics_blocks + self.denoiser_blocks + self.uncertainty_blocks
        return 4 * blocks * self.width**2


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    Attributes:
        batch: molecules per step (on all devices together).
        draws: noise draws per molecule and step, which share one pass of the dynamics module.
        learning_rate: peak of the schedule.
        schedule: `constant`, or `cosine` to zero over the planned steps.
        warm_up: steps of linear warm-up.
        beta1, beta2, epsilon, weight_decay: of AdamW.
        clip: largest norm of the gradient, 0 for none.
        noise_mean, noise_std: of ln(sigma / sigma_data * 0.5) (Karras et al. 2022, table 1).
        position_weight: c_x, weight of the position loss.
        uncertainty_weight: c_u, weight of the uncertainty loss; 0 trains that module separately.
        uncertainty_share: share of each batch for which the sampler is run for that loss.
        ema: decay of the exponential moving average of the weights, 0 for none.
        uniform_atoms: batches of molecules of one size (no padding), or of mixed sizes.
    """

    batch: int
    draws: int
    learning_rate: float
    schedule: Literal["constant", "cosine"]
    warm_up: int
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    clip: float
    noise_mean: float
    noise_std: float
    position_weight: float
    uncertainty_weight: float
    uncertainty_share: float
    ema: float
    uniform_atoms: bool


@dataclass(frozen=True)
class Preset:
    """A network with its training recipe."""

    name: str
    network: NetworkSettings
    training: TrainingSettings


PAPER: Final = Preset(
    "paper",
    NetworkSettings(
        tokens="pairs",
        width=512,
        heads=32,
        dynamics_blocks=6,
        denoiser_blocks=2,
        uncertainty_blocks=2,
        embedding=64,
        memory=True,
        scaling="box",
        sigma_data=0.25,
        sampler=SamplerSettings(
            steps=5, rho=1.5, churn=30.0, churn_from=0.01, churn_to=1.0, churn_noise=1.1
        ),
    ),
    TrainingSettings(
        batch=32,
        draws=8,
        learning_rate=1e-3,
        schedule="constant",
        warm_up=0,
        beta1=0.9,
        beta2=0.99,
        epsilon=1e-5,
        weight_decay=0.0,
        clip=0.0,
        # The published mean of ln(sigma), -1.2, holds for the published sigma_data.
        noise_mean=-1.2 - math.log(2.0 * 0.25),
        noise_std=1.2,
        position_weight=400.0,
        uncertainty_weight=0.1,
        uncertainty_share=1.0,
        ema=0.0,
        uniform_atoms=True,
    ),
)

MOLEXA: Final = Preset(
    "molexa",
    NetworkSettings(
        tokens="atoms",
        width=256,
        heads=8,
        dynamics_blocks=4,
        denoiser_blocks=7,
        uncertainty_blocks=1,
        embedding=64,
        memory=False,
        scaling="energy",
        sigma_data=0.35,
        sampler=SamplerSettings(
            steps=8, sigma_max=3.0, sigma_min=0.01, rho=5.0, multistep=True, extrapolation=0.25
        ),
    ),
    TrainingSettings(
        batch=4096,
        draws=1,
        learning_rate=8e-4,
        schedule="cosine",
        warm_up=300,
        beta1=0.9,
        beta2=0.99,
        epsilon=1e-8,
        weight_decay=1e-3,
        clip=1.0,
        noise_mean=-1.5,
        noise_std=1.4,
        position_weight=1.0,
        uncertainty_weight=0.0,
        uncertainty_share=0.125,
        ema=0.999,
        uniform_atoms=False,
    ),
)

TOLD: Final = Preset(
    "told",
    replace(
        MOLEXA.network,
        told=True,
        max_atoms=14,
        max_charge=17,
        # The last step, from sigma_min to zero, replaces a sample by the mean of all that are as
        # near: the scatter below sigma_min is lost. Steps alike in ln(sigma), corrected, give
        # normal distributions their width to 2 % (tests/network/test_sampler_widths.py).
        sampler=SamplerSettings(
            steps=9,
            sigma_max=3.0,
            sigma_min=0.0015,
            rho=100.0,
            multistep=True,
            extrapolation=0.8,
            corrected=True,
            centred=True,
        ),
    ),
    replace(MOLEXA.training, batch=8192, learning_rate=5e-4),
)

PRESETS: Final[dict[str, Preset]] = {preset.name: preset for preset in (PAPER, MOLEXA, TOLD)}


def preset(name: str) -> Preset:
    """The preset of this name.

    Raises:
        UsageError: no such preset; the message lists the presets.
    """
    if name in PRESETS:
        return PRESETS[name]
    near = near_matches(name, PRESETS)
    hint = f"Did you mean {listing(near)}?" if near else f"There are: {listing(PRESETS)}."
    raise UsageError(f"no preset named {name!r}", do=hint)
