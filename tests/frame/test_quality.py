"""Spread of the reference of a molecular frame, and the choice of a better one."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.mathematics.rotations import rotations_of
from molexa_core.base.settings import Frame
from molexa_core.base.tables import Coincidences
from molexa_core.frame.quality import better_frame, frame_doubt, frame_quality
from molexa_core.pipeline.chain.align import align

MEAN = np.array([[100.0, 0.0, 0.0], [-90.0, 60.0, 0.0], [-10.0, -60.0, 0.0], [0.0, 0.0, 0.0]])


def events(rng: np.random.Generator, mean: np.ndarray, width: float) -> Coincidences:
    """Events of a molecule whose momenta are spread alike, in every orientation."""
    ions = ["O+", "C+", "N+", "H+"][: len(mean)]
    noise = rng.normal(0.0, width, (1500, *mean.shape))
    noise -= noise.mean(axis=1, keepdims=True)
    turns = rotations_of(rng.normal(size=(4, 1500)))
    return Coincidences.of(ions, np.einsum("nij,naj->nai", turns, mean + noise))


def test_spread_and_momentum_of_the_reference(rng: np.random.Generator) -> None:
    frame, width = Frame(reference="O+", second="C+"), 5.0
    quality = frame_quality(events(rng, MEAN[:3], width), frame)
    half = frame_quality(events(rng, MEAN[:3], 0.5 * width), frame)
    assert quality is not None
    assert half is not None
    # Noise that adds up to zero over three ions has 2/3 of the variance; superposing takes more.
    assert 0.2 * width < quality.spread < np.sqrt(2.0 / 3.0) * width
    assert half.spread == pytest.approx(0.5 * quality.spread, rel=0.1)
    assert quality.momentum == pytest.approx(100.0, rel=0.01)
    assert quality.kept > 0.98
    assert frame_doubt(quality, None) is None


def test_a_poor_reference_is_told_with_the_better_choice(rng: np.random.Generator) -> None:
    mean = np.array([[100.0, 0.0, 0.0], [-100.0, 8.0, 0.0], [0.0, -8.0, 0.0]])
    table = events(rng, mean, 4.0)
    quality = frame_quality(table, Frame(reference="N+", second="O+"))
    assert quality is not None
    assert quality.poor
    better = better_frame(table, quality)
    assert better is not None
    assert better.frame.reference in {"O+", "C+"}
    text = frame_doubt(quality, better)
    assert text is not None
    assert f"with {better.frame.reference} as reference" in text
    warned = align(table, reference="N+", second="O+").warnings
    assert any("the reference N+ is spread by" in warning for warning in warned)
    assert not any("is spread by" in warning for warning in align(table, reference="O+").warnings)


def test_too_few_events_and_two_ions_are_not_judged(rng: np.random.Generator) -> None:
    few = events(rng, MEAN[:3], 1.0).select(np.arange(20))
    assert frame_quality(few, Frame(reference="O+")) is None
    two = events(rng, np.array([[50.0, 0.0, 0.0], [-50.0, 0.0, 0.0]]), 1.0)
    assert frame_quality(two, Frame(reference="O+")) is None
    assert "frame_quality" not in align(two).summary
