"""Reconstruct: the structure where the explosion is the one on which the network learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from molexa_core.base.matter.ions import Ion, isotopes_of
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.io.results.geometry_json import ReconstructionRecord
from molexa_core.network.conditions import Told
from molexa_core.network.inference.answers import (
    Structures,
    reconstruct_sets,
    reconstruct_structures,
)
from molexa_core.network.inference.engine import Engine
from molexa_core.network.network import Network
from molexa_core.network.weights import (
    ModelCard,
    calibrated_for,
    calibration_of,
    card_remarks,
    forward_of,
    tau_of,
)
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.reconstruction.choice import (
    choice,
    chosen,
    closure_record,
    closure_residuals,
    other_model,
)
from molexa_core.pipeline.reconstruction.dihedrals import propagated_dihedrals
from molexa_core.pipeline.reconstruction.error_bars import doubts_of_lengths, without_error_bars
from molexa_core.pipeline.reconstruction.from_coordinates import propagated_lengths
from molexa_core.pipeline.reconstruction.from_posterior import agreement_of, doubts_of_explosion
from molexa_core.pipeline.reconstruction.momenta_input import read_columns
from molexa_core.pipeline.reconstruction.solutions import Solution, solutions
from molexa_core.pipeline.reconstruction.task import (
    Measured,
    Task,
    input_entry,
    measured_in,
    model_entry,
    stated_explosion,
    told_in,
)

PERTURBED: Final = 12
"""Number of draws of the momenta within their errors, for the error bars."""
GAUSSIAN: Final = math.sqrt(math.pi / 2.0)
"""Ratio of standard deviation and mean absolute error of a normal distribution."""


def by_network(
    task: Task, table: pd.DataFrame, *, refined: bool | None, unlike: str | None
) -> ReconstructionRecord:
    """The structure where the explosion is the one on which the network learned.

    Args:
        task: what is asked for.
        table: the channel.
        refined: see `reconstruct`.
        unlike: the reason why the explosion is another one; then there are no error bars.
    """
    network, card, seed, chemistry = task.network, task.card, task.seed, task.belief.chemistry
    measured = measured_in(table, network, card, told=task.assumed.explosion.told)
    ions, momenta, errors = measured.ions, measured.momenta, measured.errors
    forward = forward_of(card)
    refined = forward == "classical" if refined is None else refined
    tau_fs = tau_of(card)
    engine = Engine(network)
    with task.progress.task("reconstructing", 3.0, "steps") as steps:
        told = told_in(task, measured)
        drawn = reconstruct_structures(
            engine, ions, momenta, samples=task.samples, seed=seed, told=told
        )
        residuals = closure_residuals(drawn.samples, ions, momenta, tau_fs)
        steps.advance()
        candidates = solutions(
            drawn.samples,
            ions,
            momenta,
            errors=errors,
            width=drawn.uncertainty,
            tau_fs=tau_fs,
            refined=refined,
            search=task.search,
            chemistry=chemistry,
            seed=seed,
        )
        answer, alternatives = chosen(
            candidates, drawn.samples, residuals, forward=forward, chemistry=chemistry
        )
        steps.advance()
        propagated = _propagated(engine, measured, seed, told)
        steps.advance()
    symbols = tuple(ion.element.symbol for ion in ions)
    reason = without_error_bars(
        ions=ions,
        card=card,
        measured=read_columns(table)[1],
        momenta=momenta,
        unlike=measured.unlike,
        residual=answer.residual,
        explains=answer.explains,
        judged=refined and forward == "classical",
    )
    if reason is None and unlike is not None:
        reason = f"no error bars: {unlike}"
    uncertainty = None
    if reason is None:
        uncertainty = np.hypot(_model_error(network, card, ions, drawn, answer), propagated)
    warnings = [*measured.warnings, *other_model(forward, refined=refined), *card_remarks(card)]
    if forward == "classical":
        warnings += choice(answer, alternatives, chemistry=chemistry)
    warnings += doubts_of_lengths(Geometry(symbols, answer.positions))
    knowledge = knowledge_of(task.assumed.explosion, symbols)
    found: dict[str, Any] = {}
    if forward == "classical" and unlike is None and answer.explains:
        found = agreement_of(answer.positions, knowledge.hypotheses[0], measured.channel)
        warnings += doubts_of_explosion(found)
    distances, angles = propagated_lengths(answer.positions, uncertainty, ions)
    dihedrals = propagated_dihedrals(answer.positions, uncertainty, ions)
    return ReconstructionRecord(
        symbols=symbols,
        isotopes=isotopes_of(ions),
        positions_bohr=answer.positions,
        charges=tuple(ion.charge for ion in ions),
        uncertainty_bohr=uncertainty,
        uncertainty_reason=reason,
        spread_bohr=drawn.samples.std(axis=0),
        samples_bohr=drawn.samples,
        closure=closure_record(residuals, answer, tau_fs, forward=forward, refined=refined),
        model={**model_entry(card), "calibration": calibrated_for(card, list(symbols))},
        input=input_entry(task, [measured])
        | {"collinear": drawn.collinear, "frames": drawn.frames},
        alternatives=tuple(solution.to_dict(answer.positions) for solution in alternatives),
        warnings=tuple(warnings),
        explosion=stated_explosion(task.assumed, knowledge) | found,
        distances=distances,
        angles=angles,
        dihedrals=dihedrals,
    )


def _model_error(
    network: Network, card: ModelCard, ions: Sequence[Ion], drawn: Structures, answer: Solution
) -> FloatArray:
    """(N, 3) half-widths of 68 % intervals from the network's expected absolute errors."""
    errors = drawn.uncertainty
    expected = errors.mean(axis=0) if answer.sample is None else errors[answer.sample]
    calibration = calibration_of(card)
    if calibration is not None:
        return calibration.half_widths(expected, np.array([ion.element.number for ion in ions]))
    # All errors far below the width of a bin fall into the lowest one. The estimate cannot
    # resolve them, so the smallest error is the standard deviation within a bin.
    resolution = network.settings.uncertainty_bin_width / math.sqrt(12.0)
    return np.asarray(np.hypot(GAUSSIAN * expected, resolution))


def _propagated(engine: Engine, measured: Measured, seed: int, told: Told | None) -> FloatArray:
    """(N, 3) scatter of the answer when the momenta vary within their errors, if known.

    The diffusion starts from the same noise every time, so that only the momenta vary.
    """
    ions, momenta, errors = measured.ions, measured.momenta, measured.errors
    if errors is None:
        return np.zeros_like(momenta)
    generator = np.random.default_rng([seed, 1])
    masses = np.array([ion.mass for ion in ions])
    noise = generator.standard_normal((PERTURBED, *momenta.shape))
    moved = momenta + errors * noise
    moved -= (masses / masses.sum())[:, None] * moved.sum(axis=1, keepdims=True)
    whole = None if told is None else told.repeated(PERTURBED)
    drawn = reconstruct_sets(engine, ions, moved, samples=1, seed=seed, told=whole)
    answers = [structures.samples[0] for structures in drawn]
    scatter: FloatArray = np.std(answers, axis=0, ddof=1)
    return scatter
