"""The test that recognises inputs unlike the training, made from explosions of its family."""

from __future__ import annotations

import numpy as np

from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.network.inference.conformity import Conformity, features, fit_conformity
from molexa_core.pipeline.evaluation.known_explosions import Sizes
from molexa_core.pipeline.explosions.unlike_training import photons_absorbed


def features_of(sizes: Sizes) -> tuple[FloatArray, IntArray]:
    """(B, M) features of all explosions, and (B) their number of atoms."""
    found, atoms = [], []
    for count, one in sorted(sizes.items()):
        pulse = one.settings[:, :3]
        photons = photons_absorbed(one.numbers, pulse)
        found.append(features(one.numbers, one.charges, one.masses, one.momenta, pulse, photons))
        atoms.append(np.full(len(one), count))
    return np.concatenate(found), np.concatenate(atoms)


def conformity_of(sizes: Sizes, *, seed: int = 0) -> Conformity:
    """The test from explosions of the training, one of each geometry.

    Args:
        sizes: such as `known_explosions.family_explosions` gives; a thousand or more.
        seed: of the division into fit and comparison.

    Raises:
        UsageError: too few explosions.
    """
    values, atoms = features_of(sizes)
    return fit_conformity(values, atoms, np.arange(len(values)), seed=seed)
