"""Networks small enough for tests."""

from __future__ import annotations

from dataclasses import replace

from molexa_core.network.config import MOLEXA, PAPER, NetworkSettings


def small_settings(tokens: str) -> NetworkSettings:
    preset = PAPER if tokens == "pairs" else MOLEXA
    return replace(
        preset.network,
        width=32,
        heads=4,
        dynamics_blocks=2,
        denoiser_blocks=2,
        uncertainty_blocks=1,
        embedding=8,
        uncertainty_bins=20,
        sampler=replace(preset.network.sampler, steps=3),
    )
