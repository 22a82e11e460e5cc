"""Give weights the test that recognises inputs unlike their training, in their card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.outputs import FileKind
from molexa_core.network.card import ModelCard, write_card
from molexa_core.network.inference.conformity import (
    CONFORMITY,
    PATTERNS,
    SUSPECT,
    Conformity,
    told_in,
)
from molexa_core.network.weights import learned_from, read_card
from molexa_core.physics.mcmd.photon_tables import PhotonTables, pack_photon_tables
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.evaluation.calibration_run import population_of
from molexa_core.pipeline.evaluation.conformity_of_family import conformity_of, features_of
from molexa_core.pipeline.evaluation.known_explosions import (
    FAMILY,
    HELD_OUT,
    PHYSICS,
    PULSES,
    Population,
    Sizes,
    family_explosions,
)
from molexa_core.pipeline.output_guard import require_outputs

GEOMETRIES: Final = 6000
"""Explosions of the training, half of which the others are compared with."""
SEED: Final = 70_260_000
SHARE: Final = 6
"""Of each set that is only measured, the number of explosions is smaller by this."""


@dataclass(frozen=True)
class Recognition:
    """The test in a card, and what it says of sets that it was not made from.

    Attributes:
        card: file that was rewritten.
        rates: share called unlike the training, by set and by what is told (three digits for
            photon energy, fluence and duration).
    """

    card: Path
    rates: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return {"card": str(self.card), "level": SUSPECT, "called_unlike": self.rates}


def recognise_inputs(
    name: str,
    *,
    geometries: int = GEOMETRIES,
    trajectories: int | None = None,
    device: str = "auto",
    seed: int = SEED,
    tables: PhotonTables | None = None,
    progress: Progress = SILENT,
) -> Recognition:
    """Make the test from new explosions of the training of these weights, and store it.

    Args:
        name: name or card of weights that are told the experiment.
        geometries: explosions of the training.
        trajectories: of each geometry; those of a training if not given.
        device: `auto`, `cpu` or `cuda`.
        seed: of the explosions.
        tables: atomic tables; those of the training if not given.
        progress: display of the progress.

    Raises:
        InputFileError, WeightsError: no such weights, or damaged ones.
        UsageError: weights that did not learn a family of X-ray pulses, or too few explosions.
        OutputError: the card cannot be written.
    """
    where = take_device(device)
    card, path = read_card(name)
    require_outputs((path, FileKind.CARD))
    of = training_of(card)
    known = tables or pack_photon_tables(_energies(card), progress=progress)
    span = (2, min(card.network.max_atoms, 9))

    def made(kind: str, count: int) -> Sizes:
        return family_explosions(
            kind,
            count,
            atoms=span,
            seed=seed,
            device=where,
            trajectories=trajectories,
            population=of,
            tables=known,
            progress=progress,
        )

    test = conformity_of(made(FAMILY, geometries), seed=seed)
    rates = {}
    for kind in (HELD_OUT, PULSES, PHYSICS):
        if kind == PULSES and not np.isin([1500.0, 2000.0, 600.0], known.photon_ev).all():
            continue
        sets = made(kind, max(geometries // SHARE, 24))
        if sets:
            rates[kind] = called_unlike(test, sets)
    stored = {**card.data, CONFORMITY: test.to_dict()}
    metrics = {**card.metrics, "called_unlike_the_training": rates}
    write_card(replace(card, data=stored, metrics=metrics), path)
    return Recognition(path, rates)


def training_of(card: ModelCard) -> Population:
    """The family of pulses that weights learned.

    Raises:
        UsageError: they learned none.
    """
    pairs = _stream(card).get("pairs")
    box = pairs.get("box") if isinstance(pairs, Mapping) else None
    if not isinstance(box, Mapping):
        raise UsageError(
            f"{card.name} did not learn a family of X-ray pulses", do="Name weights that did."
        )
    of = population_of(card)
    ends: dict[str, Any] = {
        name: tuple(box[name]) for name in ("fluence_um2", "duration_fs") if name in box
    }
    return replace(of, box=replace(of.box, **ends), pulse=None)


def _stream(card: ModelCard) -> Mapping[str, Any]:
    found = learned_from(card).get("stream")
    return found if isinstance(found, Mapping) else {}


def _energies(card: ModelCard) -> tuple[float, ...]:
    return tuple(float(one) for one in _stream(card).get("photon_ev", ()))


def called_unlike(test: Conformity, sets: Sizes) -> dict[str, float]:
    """Share of explosions called unlike the training, by what is told of them."""
    values, atoms = features_of(sets)
    rates = {}
    for pattern in PATTERNS:
        told = told_in(values, pattern)
        p = np.concatenate([test.p_values(told[atoms == n], int(n)) for n in np.unique(atoms)])
        rates[pattern] = float((p < SUSPECT).mean())
    return rates
