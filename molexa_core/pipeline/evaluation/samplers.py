"""What draws structures from a posterior: weights of a network, or the inversion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np

from molexa_core.base.errors import ComputationError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Explosion
from molexa_core.base.tables import FloatArray
from molexa_core.network.config import SamplerSettings
from molexa_core.network.inference.answers import predict_batch
from molexa_core.network.inference.engine import Engine
from molexa_core.pipeline.evaluation.known_explosions import KnownExplosions, Telling
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.posterior import infer
from molexa_core.pipeline.inversion.residuals import MeasuredChannel
from molexa_core.pipeline.inversion.weighted_draws import equal_rows
from molexa_core.pipeline.reconstruction.from_posterior import unreliable

INVERSION_DRAWS: Final = 1000
"""Draws of the inversion, of which equally likely ones are taken."""


class Sampler(Protocol):
    """Draws from the posterior of geometries, given momenta."""

    @property
    def name(self) -> str:
        """For results."""

    def draw(
        self, explosions: KnownExplosions, count: int, *, seed: int, progress: Progress = SILENT
    ) -> FloatArray:
        """(count, B, N, 3) bohr, each draw of a case as likely as the others, in any frame.

        Only what was measured may be used, not the positions. Not numbers where the sampler gives
        no error bars.
        """


@dataclass(frozen=True)
class NetworkSampler:
    """Samples of a network.

    Attributes:
        engine: of the network.
        name: of the weights.
        device: of the network.
        settings: of the sampler; those of the network if not given.
        telling: what a network that can be told the experiment is told of it.
    """

    engine: Engine
    name: str
    device: str = "cpu"
    settings: SamplerSettings | None = None
    telling: Telling = "everything"

    def draw(
        self, explosions: KnownExplosions, count: int, *, seed: int, progress: Progress = SILENT
    ) -> FloatArray:
        """See `Sampler`."""
        batch = explosions.batch(self.device)
        if self.engine.network.settings.told:
            batch = replace(batch, told=explosions.told(self.telling).to(self.device))
        found = []
        with progress.task("drawing", float(count), "samples of each") as task:
            for number in range(count):
                positions, _, _ = predict_batch(
                    self.engine, batch, seed=seed * 1009 + number, sampler=self.settings
                )
                found.append(positions.double().cpu().numpy())
                task.advance()
        return np.stack(found)


@dataclass(frozen=True)
class InversionSampler:
    """Draws of the inversion by likelihood and prior.

    Attributes:
        explosion: what is told about it.
        name: for results.
    """

    explosion: Explosion
    name: str = "inversion"

    def draw(
        self, explosions: KnownExplosions, count: int, *, seed: int, progress: Progress = SILENT
    ) -> FloatArray:
        """See `Sampler`."""
        found = np.full((count, *explosions.positions.shape), np.nan)
        with progress.task("inverting", float(len(explosions)), "explosions") as task:
            for row in range(len(explosions)):
                drawn = self._of_one(explosions, row, count, seed)
                if drawn is not None:
                    found[:, row] = drawn
                task.advance()
        return found

    def _of_one(
        self, explosions: KnownExplosions, row: int, count: int, seed: int
    ) -> FloatArray | None:
        fragments = explosions.fragments(row)
        knowledge = knowledge_of(self.explosion, fragments.symbols)
        covariance = np.diag(explosions.errors[row].ravel() ** 2)
        channel = MeasuredChannel(fragments, explosions.momenta[row], covariance)
        try:
            posterior = infer(
                [channel],
                knowledge,
                geometry=GeometryPrior.of(fragments.symbols),
                draws=INVERSION_DRAWS,
                seed=seed + row,
            )
        except ComputationError:
            return None
        if unreliable(posterior) is not None:
            return None
        random = np.random.default_rng([seed, row])
        return posterior.positions[equal_rows(posterior.weights, count, random)]
