"""Reconstruct: the structure from all that is known about the explosion, from several channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from molexa_core.base.errors import listing
from molexa_core.base.known_explosion import XrayExplosion, unusual
from molexa_core.base.matter.ions import isotopes_of
from molexa_core.base.numbers import percent
from molexa_core.base.tables import FloatArray, Geometry, ion_labels
from molexa_core.io.results.geometry_json import ReconstructionRecord
from molexa_core.network.inference.answers import reconstruct_structures
from molexa_core.network.inference.engine import Engine
from molexa_core.physics.family.family import ExplosionKnowledge
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.posterior import infer
from molexa_core.pipeline.inversion.sample_shares import SAMPLES
from molexa_core.pipeline.reconstruction.channels import (
    ChannelMomenta,
    best_order,
    in_order,
    labels_in,
)
from molexa_core.pipeline.reconstruction.dihedrals import drawn_dihedrals
from molexa_core.pipeline.reconstruction.error_bars import doubts_of_lengths, not_a_molecule
from molexa_core.pipeline.reconstruction.from_posterior import (
    agreement,
    answer_of,
    doubts_of_calibration,
    doubts_of_charges,
    doubts_of_choice,
    doubts_of_explosion,
    lengths_and_angles,
    unreliable,
)
from molexa_core.pipeline.reconstruction.momenta_input import read_columns
from molexa_core.pipeline.reconstruction.solutions import further_starts
from molexa_core.pipeline.reconstruction.task import (
    Measured,
    Task,
    input_entry,
    measured_in,
    model_entry,
    name_of,
    stated_explosion,
    told_in,
)

DRAWS: Final = 1000
"""Number of draws from the posterior."""
FEW_DRAWS: Final = 200
"""The same where it serves to assign like atoms of further channels."""


def by_posterior(task: Task, tables: Sequence[pd.DataFrame]) -> ReconstructionRecord:
    """The structure from all that is known about the explosion."""
    network, card, seed = task.network, task.card, task.seed
    read = [
        measured_in(
            table, network, card, told=task.assumed.explosion.told, name=name_of(table, number)
        )
        for number, table in enumerate(tables)
    ]
    first = read[0]
    engine = Engine(network)
    counted = _samples_count(task, read)
    drawn = reconstruct_structures(
        engine,
        first.ions,
        first.momenta,
        samples=max(task.samples, SAMPLES) if counted else task.samples,
        seed=seed,
        told=told_in(task, first),
    )
    symbols = tuple(ion.element.symbol for ion in first.ions)
    knowledge = knowledge_of(task.assumed.explosion, symbols)
    prior = task.belief.prior(symbols)
    starts = drawn.samples[: task.samples]
    starts = starts - starts.mean(axis=1, keepdims=True)
    if task.search:
        masses = np.array([ion.mass for ion in first.ions])
        more = further_starts(starts, first.momenta, masses, task.search, seed)
        starts = np.concatenate([starts, more])
    channels, remarks = _one_order(task, read, knowledge, prior, starts)
    posterior = infer(
        [one.measured() for one in channels],
        knowledge,
        geometry=prior,
        starts=starts,
        samples=drawn.samples if counted else None,
        draws=DRAWS,
        seed=seed,
        progress=task.progress,
    )
    answer = answer_of(posterior, symbols, seed=seed)
    reason = answer.reason
    for one, table in zip(read, tables, strict=True):
        reason = reason or not_a_molecule(one.ions, read_columns(table)[1], one.momenta)
    found = agreement(posterior, knowledge, channels)
    distances, angles = lengths_and_angles(posterior, first.ions)
    dihedrals = drawn_dihedrals(
        posterior.positions,
        posterior.weights,
        answer.positions,
        first.ions,
        reliable=unreliable(posterior) is None,
    )
    warnings = [text for one in read for text in one.remarks] + doubts_of_explosion(found)
    strange = unusual(task.assumed.explosion.told)
    warnings += [one for one in strange if not any(one in other for other in warnings)]
    warnings += doubts_of_calibration(task.assumed.explosion.calibrated)
    for channel in channels:
        warnings += doubts_of_charges(channel, knowledge)
    if answer.reason is not None and not answer.contradicted:
        warnings.append(answer.reason.removeprefix("no error bars: "))
    warnings += doubts_of_lengths(Geometry(symbols, answer.positions))
    if reason is None:
        warnings += doubts_of_choice(
            answer.positions,
            symbols,
            answer.alternatives,
            distances,
            chemistry=task.belief.chemistry,
        )
    for text in remarks:
        task.progress.say(text)
    return ReconstructionRecord(
        symbols=symbols,
        isotopes=isotopes_of(first.ions),
        positions_bohr=answer.positions,
        charges=tuple(ion.charge for ion in first.ions),
        uncertainty_bohr=answer.uncertainty if reason is None else None,
        uncertainty_reason=reason,
        spread_bohr=answer.spread,
        samples_bohr=answer.samples,
        closure={
            "model": knowledge.hypotheses[answer.mode.hypothesis].family.name,
            "residual": answer.mode.closure,
            "residual_meaning": "rms difference of the momenta over their rms",
            "refined": True,
            "evidence_share": answer.mode.share,
        },
        model=model_entry(card),
        input=input_entry(task, read) | {"assignment": remarks},
        alternatives=answer.alternatives,
        warnings=tuple(dict.fromkeys(warnings)),
        explosion=stated_explosion(task.assumed, knowledge)
        | {"geometry_prior": task.belief.statement(samples=counted)}
        | found,
        distances=distances,
        angles=angles,
        dihedrals=dihedrals,
    )


def _samples_count(task: Task, read: Sequence[Measured]) -> bool:
    """Whether samples of the network say how probable each solution is.

    They do where it is told the explosion, of a kind whose every setting it learned, and knows
    inputs like this one; of several channels it knows one alone. Two atoms have no twins, and their
    momenta say more than the network.
    """
    explosion = task.assumed.explosion
    return (
        task.belief.samples
        and task.network.settings.told
        and isinstance(explosion.told, XrayExplosion)
        and explosion.calibrated is None
        and len(read) == 1
        and len(read[0].ions) > 2
        and not read[0].unlike
    )


def _one_order(
    task: Task,
    read: Sequence[Measured],
    knowledge: ExplosionKnowledge,
    prior: GeometryPrior,
    starts: FloatArray,
) -> tuple[list[ChannelMomenta], list[str]]:
    """The channels with their atoms in the order of the first, and sentences about like atoms.

    Like atoms of further channels are assigned by the structure that the first one gives.
    """
    first = read[0].channel
    channels = [first] + [in_order(first, one.channel) for one in read[1:]]
    if len(read) == 1 or len(set(first.symbols)) == len(first.symbols):
        return channels, []
    alone = infer(
        [first.measured()],
        knowledge,
        geometry=prior,
        starts=starts,
        draws=FEW_DRAWS,
        seed=task.seed,
    )
    mode = alone.modes[0]
    family = knowledge.hypotheses[mode.hypothesis].family
    remarks = []
    for number, one in enumerate(channels[1:], start=1):
        order, misfit = best_order(mode.positions, family, mode.parameters, one)
        channels[number] = one.ordered(order)
        pairs = listing(
            f"{a} = {b}" for a, b in zip(ion_labels(first.ions), labels_in(one, order), strict=True)
        )
        remarks.append(
            f"like atoms of {one.name} assigned to those of {first.name} by the best fit "
            f"({percent(misfit)} % of the momenta are left): {pairs}"
        )
    return channels, remarks
