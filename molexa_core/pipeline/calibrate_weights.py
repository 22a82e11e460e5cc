"""Calibrate weights: intervals of their predictions that hold what they promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from molexa_core.base.progress import SILENT, Progress
from molexa_core.model.calibration import LEVELS, Calibration, fit_calibration
from molexa_core.model.devices import choose_device
from molexa_core.model.engine import Engine
from molexa_core.model.network import Network
from molexa_core.model.weights import load_network, read_card, write_card
from molexa_core.pipeline.evaluate import answer, coverage
from molexa_core.pipeline.evaluation_sets import Explosions, entry_set, random_set
from molexa_core.pipeline.stage1 import StageOneData

SEED: Final = 30_260_000
"""Seed of random molecules for a calibration; those of training and validation are far away."""


@dataclass(frozen=True)
class CalibrationResult:
    """A calibration and how well it holds where it was not fitted.

    Attributes:
        calibration: fitted on half of the molecules.
        coverage: on the other half: share of coordinates inside the intervals of each level, by
            number of atoms and `all`.
    """

    calibration: Calibration
    coverage: Mapping[str, list[float]]


def calibrate(
    network: Network,
    sets: Mapping[int, Explosions],
    *,
    data: str,
    seed: int = 0,
    progress: Progress = SILENT,
) -> CalibrationResult:
    """Fit the intervals on every second molecule and measure their coverage on the others.

    Molecules that belong together (`Explosions.cluster`) stay on one side.

    Args:
        network: in evaluation mode.
        sets: molecules it was not trained on, by number of atoms.
        data: what they are, for people.
        seed: of the samples.
        progress: where to show it.
    """
    errors, expected, rest = {}, {}, {}
    engine = Engine(network)
    with progress.task("calibrating", len(sets), "sizes") as task:
        for atoms, one in sorted(sets.items()):
            found = answer(engine, one.batch, samples=1, seed=seed, tau_fs=0.0)
            fitted = one.cluster % 2 == 0
            errors[atoms] = np.abs(found.samples[0] - found.truth)[fitted]
            expected[atoms] = found.expected[0][fitted]
            rest[atoms] = replace(
                found,
                truth=found.truth[~fitted],
                samples=found.samples[:, ~fitted],
                expected=found.expected[:, ~fitted],
            )
            task.advance()
    calibration = fit_calibration(
        errors, expected, bin_width=network.settings.uncertainty_bin_width, data=data
    )
    return CalibrationResult(calibration, coverage(rest, calibration))


def calibrate_weights(
    name: str,
    *,
    data: Path | str | None = None,
    molecules: int = 8192,
    device: str = "auto",
    seed: int = SEED,
    progress: Progress = SILENT,
) -> tuple[CalibrationResult, Path]:
    """Calibrate installed weights and store the result in their card.

    Args:
        name: name or card of the weights.
        data: folder of a data set whose validation split is used; fresh random molecules of
            stage 1 where not given.
        molecules: how many, over all sizes.
        device: `auto`, `cpu` or `cuda`.
        seed: of the molecules and samples.
        progress: where to show it.

    Returns:
        The result, and the card that was rewritten.

    Raises:
        InputFileError: no such weights or data set.
        WeightsError: damaged weights.
        OutputError: the card cannot be written.
    """
    where = choose_device(device)
    network, _ = load_network(name, where)
    card, path = read_card(name)
    if data is None:
        sizes = network.settings.max_atoms - 1
        stage_one = StageOneData(largest=network.settings.max_atoms)
        sets = random_set(stage_one, max(molecules // sizes, 2), seed=seed, device=where)
        told = f"random molecules of stage 1, seed {seed}"
    else:
        sets = entry_set(data, "validation", limit=molecules, seed=seed, device=where)
        told = f"validation split of {Path(data).name}"
    result = calibrate(network, sets, data=told, seed=seed, progress=progress)
    measured = {
        f"coverage_{round(100 * level)}": {n: values[k] for n, values in result.coverage.items()}
        for k, level in enumerate(LEVELS)
    }
    metrics = {**card.metrics, "calibration": {"data": told, **measured}}
    write_card(replace(card, calibration=result.calibration.to_dict(), metrics=metrics), path)
    return result, path
