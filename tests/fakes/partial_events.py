"""Coincidences of a molecule of known mean momenta, some of whose ions are not detected."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product

import numpy as np

from molexa_core.base.mathematics.rotations import rotations_of
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Channel, parse_settings
from molexa_core.base.tables import Coincidences, FloatArray

ANGULAR = {
    "O+": [100.0, 0.0, 0.0],
    "C+": [-70.0, 45.0, 0.0],
    "H+": [[-30.0, -45.0, 0.0], [0.0, 0.0, 50.0], [0.0, 0.0, -50.0]],
}
"""A molecule whose momenta add up to zero: two heavy ions and three protons."""


CHIRAL = {
    "O+": [[100.0, 0.0, 0.0]],
    "C+": [[-70.0, 45.0, 0.0]],
    "H+": [[-35.0, -25.0, 35.0], [5.0, -45.0, -20.0], [0.0, 25.0, -15.0]],
}
"""A molecule that is not its mirror image."""


def channel_of(molecule: dict[str, list[list[float]]], detected: dict[str, int]) -> Channel:
    """A channel that detects only some of the ions of a kind."""
    ions = [
        {"ion": ion, "count": len(momenta)}
        | ({"detected": detected[ion]} if ion in detected else {})
        for ion, momenta in molecule.items()
    ]
    return parse_settings(Channel, {"name": "fake", "ions": ions}, where="test")


def angular() -> dict[str, list[list[float]]]:
    """`ANGULAR` with a list of momenta for every ion."""
    return {ion: np.atleast_2d(np.array(p)).tolist() for ion, p in ANGULAR.items()}


def partial_events(
    molecule: dict[str, list[list[float]]],
    channel: Channel,
    rng: np.random.Generator,
    *,
    molecules: int,
    efficiency: float = 0.5,
    width: float = 3.0,
    false: float = 0.2,
    racemic: bool = False,
) -> Coincidences:
    """Rows as `molexa reduce` writes them: all combinations of the ions of each shot.

    Args:
        molecule: mean momenta of each kind, a.u.
        channel: how many of each are asked for.
        rng: random numbers.
        molecules: how many explode, one per shot.
        efficiency: of the kinds that are not always detected; the others always are.
        width: standard deviation of a component of the momenta, a.u.; sums stay zero.
        false: mean number of unrelated ions per shot and partial kind.
        racemic: whether every other molecule is the mirror image.
    """
    kinds = list(molecule)
    names = [ion for ion in kinds for _ in molecule[ion]]
    mean = np.array([p for ion in kinds for p in molecule[ion]])
    mass = np.array([parse_ion(name).mass for name in names])
    noise = rng.normal(0.0, width, (molecules, *mean.shape))
    noise -= (mass / mass.sum())[:, None] * noise.sum(axis=1, keepdims=True)
    turns = rotations_of(rng.normal(size=(4, molecules)))
    momenta = np.einsum("nij,naj->nai", turns, mean + noise)
    wanted = {entry.ion: entry.wanted for entry in channel.ions}
    partial = {entry.ion for entry in channel.ions if entry.wanted < entry.count}
    if racemic:
        momenta[::2, :, 2] *= -1.0
    typical = float(np.linalg.norm(mean, axis=1).mean())
    rows: list[FloatArray] = []
    shots: list[int] = []
    for shot, ions in enumerate(momenta):
        seen: list[list[FloatArray]] = []
        for kind in kinds:
            mine = [ions[a] for a, name in enumerate(names) if name == kind]
            if kind in partial:
                mine = [p for p in mine if rng.uniform() < efficiency]
                mine += list(rng.normal(0.0, typical, (rng.poisson(false), 3)))
            seen.append(mine)
        choices = [list(combinations(m, wanted[k])) for m, k in zip(seen, kinds, strict=True)]
        for choice in product(*choices):
            rows.append(np.array([p for part in choice for p in part]))
            shots.append(shot)
    columns = [str(ion) for ion in channel.wanted_ions]
    assert Counter(columns) == Counter({k: n for k, n in wanted.items() if n})
    return Coincidences.of(
        columns,
        np.array(rows),
        tags={"shot": np.array(shots)},
        meta={"channel": channel.model_dump(mode="json")},
    )
