"""Reconstruct: samples of weights that are told the experiment, with the error bars they have.

The samples are those of means over vibrating molecules, each event in a frame of its own, as
`molexa centroid` averages them: what vibration and averaging do is in their spread. They are not
weighted by a likelihood, so that they need not explain the momenta exactly.

In the training the same two ions made the frame of every event, as in `molexa align`. Frames event
by event (`like: equivalent` or `distinct`), or of unknown origin, take now one, now another of like
ions, which is not in the spread: the half-widths of such means carry a measured factor
(`EVENT_BY_EVENT`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from molexa_core.base.fields import COUNT, FRAME, SCATTER
from molexa_core.base.matter.ions import isotopes_of
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.geometry.measures import pair_distances
from molexa_core.io.results.channel_csv import energy_of
from molexa_core.io.results.geometry_json import ReconstructionRecord
from molexa_core.network.inference.engine import Engine
from molexa_core.network.weights import card_remarks, tau_of
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.inversion.residuals import turns_onto
from molexa_core.pipeline.inversion.weighted_draws import summary
from molexa_core.pipeline.reconstruction.choice import OTHER_MODEL, closure_residuals
from molexa_core.pipeline.reconstruction.dihedrals import drawn_dihedrals
from molexa_core.pipeline.reconstruction.error_bars import doubts_of_lengths, not_a_molecule
from molexa_core.pipeline.reconstruction.from_posterior import rows_of_draws
from molexa_core.pipeline.reconstruction.momenta_input import read_columns
from molexa_core.pipeline.reconstruction.task import (
    Task,
    input_entry,
    measured_in,
    model_entry,
    stated_explosion,
)
from molexa_core.pipeline.reconstruction.told_samples import ToldEntry, sample

DRAWS: Final = 256
"""Structures drawn: half-widths are then known to 6 %."""

EVENT_BY_EVENT: Final = 1.31
"""Factor of the half-widths of means over events with like ions whose frames are event by event.

Measured (`benchmarks/averaged_runs.py`, docs/lab/told.md): bond lengths of 180 virtual runs, each
with another molecule that the training left out, another X-ray pulse and at least two like ions.
Fitted on the molecules of one half it is 1.25 with a scatter of 0.05 over 200 divisions; on the
other half 68 % of the bonds are then inside (56 % without), and 4 % beyond four half-widths (7 %).
That was with a sampler whose structures of vibrating molecules scatter by 5 % more than they do
now, so that it is 1.31.
"""
WIDENED: Final = (
    f"half-widths times {EVENT_BY_EVENT:g}: the frames are event by event, or how they were made "
    "is not recorded; where ions are alike, now one, now another of them makes such a frame, and "
    "without the factor 56 % of the bonds in virtual runs of other molecules were inside; 4 % are "
    "beyond four half-widths even so; frames as molexa align makes them, with the roles of like "
    "ions from all events together, need no factor"
)


def by_told(task: Task, table: pd.DataFrame) -> ReconstructionRecord:
    """The structure in the middle of samples of weights that are told the experiment.

    Every ± is half of the central 68 % interval of the samples, times `EVENT_BY_EVENT` for means
    over events with like ions in frames event by event.

    Args:
        task: what is asked for, with such weights.
        table: the channel.
    """
    told = task.assumed.explosion.told
    measured = measured_in(table, task.network, task.card, told=told)
    ions, momenta, errors = measured.ions, measured.momenta, measured.errors
    entry = ToldEntry(
        tuple(ions),
        momenta,
        "mean",
        float(table[COUNT].mean()) if COUNT in table else None,
        errors_of_means(table, errors),
    )
    with task.progress.task("drawing structures", 1.0, "sets") as steps:
        drawn = sample(Engine(task.network), [entry], told, max(task.samples, DRAWS), task.seed)[0]
        steps.advance()
    weights = np.full(len(drawn), 1.0 / len(drawn))
    lengths = pair_distances(drawn)
    middle = summary(lengths, weights).median
    chosen = int(np.square(lengths - middle).sum(axis=1).argmin())
    positions = drawn[chosen] - drawn[chosen].mean(axis=0)
    turned = drawn @ np.swapaxes(turns_onto(positions, drawn), 1, 2)
    turned = turned - turned.mean(axis=1, keepdims=True)
    half = summary(turned.reshape(len(turned), -1), weights).half_width.reshape(positions.shape)
    reason = not_a_molecule(ions, read_columns(table)[1], momenta)
    if reason is None and measured.unlike:
        reason = "no error bars: the network was not trained on such input"
    symbols = tuple(ion.element.symbol for ion in ions)
    distances, angles = rows_of_draws(drawn, weights, ions, reliable=reason is None)
    dihedrals = drawn_dihedrals(drawn, weights, positions, ions, reliable=reason is None)
    # Only a table that says over how many events it averages is known to be a mean over events.
    averages = COUNT in table and len(set(ions)) < len(ions)
    matched = averages and not _same_roles(table)
    if matched:
        half = EVENT_BY_EVENT * half
        distances, angles = widened(distances, np.inf), widened(angles, 180.0)
        dihedrals = widened(dihedrals, None)
    residuals = closure_residuals(drawn, ions, momenta, tau_of(task.card))
    closure: dict[str, Any] = {
        "remark": OTHER_MODEL,
        "model": "classical",
        "tau_fs": tau_of(task.card),
        "residual": float(residuals[chosen]),
        "residual_meaning": "rms difference of the momenta over their rms",
        "refined": False,
        "explains_momenta": None,
        "share_of_samples": 1.0,
        "residuals_of_samples": residuals.tolist(),
        "chosen_sample": chosen,
    }
    if matched and reason is None:
        closure["widened"] = {"factor": EVENT_BY_EVENT, "reason": WIDENED}
    warnings = [*measured.warnings, *card_remarks(task.card)]
    warnings += doubts_of_lengths(Geometry(symbols, positions))
    return ReconstructionRecord(
        symbols=symbols,
        isotopes=isotopes_of(ions),
        positions_bohr=positions,
        charges=tuple(ion.charge for ion in ions),
        uncertainty_bohr=half if reason is None else None,
        uncertainty_reason=reason,
        spread_bohr=turned.std(axis=0),
        samples_bohr=turned,
        closure=closure,
        model=model_entry(task.card),
        input=input_entry(task, [measured]) | {"samples": len(drawn)},
        warnings=tuple(dict.fromkeys(warnings)),
        explosion=stated_explosion(task.assumed, knowledge_of(task.assumed.explosion, symbols)),
        distances=distances,
        angles=angles,
        dihedrals=dihedrals,
    )


def errors_of_means(table: pd.DataFrame, errors: FloatArray | None) -> FloatArray | None:
    """(N) errors of a component as in the training: scatter over the root of the number of events.

    With several assignments of like ions per event the errors of the means are smaller; the network
    would take this for less scatter, and the means for less changed by averaging.

    Args:
        table: mean momenta.
        errors: (N, 3) their errors, a.u., None without; taken where no scatter is stored.
    """
    if errors is None:
        return None
    stored = energy_of(table).get(SCATTER)
    if COUNT in table and isinstance(stored, list) and len(stored) == len(errors):
        found = np.array(stored, float) / np.sqrt(table[COUNT].to_numpy(float))
        if np.isfinite(found).all() and (found > 0.0).all():
            return np.asarray(found)
    return np.asarray(np.sqrt((errors**2).mean(axis=1)))


def _same_roles(table: pd.DataFrame) -> bool:
    """Whether like ions had the same roles in all events that were averaged."""
    frame = table.attrs.get(FRAME)
    return isinstance(frame, Mapping) and frame.get("like") == "measured"


def widened(rows: Sequence[dict[str, Any]], end: float | None) -> tuple[dict[str, Any], ...]:
    """Rows of a record with half-widths times `EVENT_BY_EVENT`; those without stay as they are.

    Args:
        rows: with `median`, `half_width`, `low`, `high` and, where there are twins, `region`.
        end: largest possible value, the smallest is 0; None for dihedrals, which go round.
    """
    low, high = (-np.inf, np.inf) if end is None else (0.0, end)

    def limited(value: float) -> float:
        return float(min(max(value, low), high))

    found = []
    for row in rows:
        if row.get("half_width") is None:
            found.append(row)
            continue
        middle, factor = row["median"], EVENT_BY_EVENT
        size = factor * row["half_width"]
        new = row | {
            "half_width": size if end is not None else min(size, 180.0),
            "low": limited(middle - factor * (middle - row["low"])),
            "high": limited(middle + factor * (row["high"] - middle)),
        }
        if row.get("region") is not None:
            grown: list[list[float]] = []
            for one, other in row["region"]:
                centre, part = 0.5 * (one + other), 0.5 * factor * (other - one)
                ends = [limited(centre - part), limited(centre + part)]
                if grown and ends[0] <= grown[-1][1]:
                    grown[-1][1] = max(grown[-1][1], ends[1])
                else:
                    grown.append(ends)
            new["region"] = grown
        found.append(new)
    return tuple(found)
