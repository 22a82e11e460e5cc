"""Reconstruct events: one structure for every coincidence, and distributions of distances.

Mean momenta average over everything that varies from shot to shot: vibration, isomers, progress of
a reaction. The network is fast enough to reconstruct every event individually. The momenta of one
event are blurred by the resolution of the spectrometer, and so are the distributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError, about_file
from molexa_core.base.fields import WARNINGS
from molexa_core.base.matter.ions import Ion
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import BoolArray, Coincidences, FloatArray, ion_labels
from molexa_core.frame.completeness import sum_doubt
from molexa_core.geometry.measures import pair_distances, triplet_angles
from molexa_core.io.results.events import read_events
from molexa_core.io.results.structures import EventStructures, write_structures
from molexa_core.network.batch import Batch
from molexa_core.network.diffusion import churn_noise
from molexa_core.network.inference.answers import check_ions
from molexa_core.network.inference.engine import Engine
from molexa_core.network.inference.familiarity import read_ranges, unlike
from molexa_core.network.inference.interval_calibration import Calibrations, Kind
from molexa_core.network.molecule_frame import batch_frames
from molexa_core.network.network import Network
from molexa_core.network.weights import (
    ModelCard,
    calibrated_for,
    calibration_of,
    card_remarks,
    default_weights,
    load_network,
    tau_of,
)
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.pipeline.chain.channel_limits import inherited, require_complete
from molexa_core.pipeline.chain.pick import channel_of
from molexa_core.pipeline.chain.stale import require_fresh, say_unguarded
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.output_guard import discards, require_outputs, settings_inputs
from molexa_core.pipeline.reconstruction.error_bars import (
    UNEXPLAINED_SAMPLE,
    require_possible,
    uncalibrated,
)
from molexa_core.pipeline.reconstruction.momenta_input import high_charges

BLOCK: Final = 4096
"""Number of events in one pass of the network."""
UNLIKE: Final = 0.02
"""Share of events outside the training above which there is a warning."""
QUANTILES: Final = (0.16, 0.5, 0.84)


class Distribution(TypedDict):
    """The distribution of one distance (bohr) or angle (degrees) over the events."""

    of: str
    mean: float
    error_of_mean: float
    standard_deviation: float
    quantile_16: float
    median: float
    quantile_84: float


@dataclass(frozen=True)
class EventDistribution:
    """Structures of events and the distribution of their distances and angles.

    Attributes:
        structures: one per event.
        distances: for each pair of ions: label, mean, standard deviation and quantiles, bohr.
        angles: for each triplet (vertex in the middle): the same in degrees.
        warnings: sentences for the user.
        left_out: number of events without a structure, since all momenta are zero or one is not a
            number.
        calibration: molecules for which the error bars were calibrated; None if they were not.
        uncertainty_reason: why some or all structures have no error bars (NaN); None if all have
            error bars.
    """

    structures: EventStructures
    distances: list[Distribution]
    angles: list[Distribution]
    warnings: tuple[str, ...]
    left_out: int
    calibration: Kind | None = None
    uncertainty_reason: str | None = None

    @property
    def has_error_bars(self) -> bool:
        """Whether any structure has error bars."""
        return bool(np.isfinite(self.structures.uncertainty).any())

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, without the structures."""
        return {
            "events": len(self.structures),
            "left_out": self.left_out,
            "calibration": self.calibration,
            "uncertainty_reason": self.uncertainty_reason,
            "distances_bohr": self.distances,
            "angles_degree": self.angles,
            "warnings": list(self.warnings),
        }


def reconstruct_events(
    events: Coincidences,
    *,
    weights: str | tuple[Network, ModelCard] | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = SILENT,
) -> EventDistribution:
    """Reconstruct one structure for every event.

    Args:
        events: momenta in any frame; aligned events give distributions in the molecular frame, with
            like ions distinguished.
        weights: name or path of weights, or a loaded network with its card.
        seed: of the diffusion; the noise of an event depends only on the seed and its row.
        device: `auto`, `cpu` or `cuda`.
        progress: display of the progress.

    Returns:
        Structures in the frame of the momenta, with closure, and their distribution.

    Raises:
        UnknownIonError: an ion that the network does not know.
        UsageError: no events, or too few or too many ions.
    """
    where = take_device(device)
    network, card = (
        weights if isinstance(weights, tuple) else load_network(weights or default_weights(), where)
    )
    check_ions(network, events.ions)
    momenta = _centred(events)
    size = np.linalg.norm(momenta, axis=2).max(axis=1)
    good = np.flatnonzero(np.isfinite(size) & (size > 0))
    if not len(good):
        raise UsageError("no event has usable momenta", do="Check the events file.")
    momenta = momenta[good]
    require_possible(events.ions, np.sqrt(np.median(momenta**2, axis=0)))
    doubt = sum_doubt(events)
    warnings = inherited(events.meta) + ([] if doubt is None else [doubt])
    outside = _outside(card, events, momenta)
    warnings += _unfamiliar(card, events, outside) + card_remarks(card)
    noise = _noise(network, len(events), len(events.ions), seed)
    positions, expected = _drawn(network, events, momenta, [one[good] for one in noise], progress)
    closure = _closure(events, positions, momenta, tau_of(card))
    uncertainty = _uncertainty(expected, events, calibration_of(card))
    unlikely = outside | (closure > UNEXPLAINED_SAMPLE)
    reason = _reason(card, events.ions, unlikely)
    structures = EventStructures(
        ions=events.ions,
        event_id=events.event_id[good],
        positions=positions,
        uncertainty=np.where(unlikely[:, None, None], np.nan, uncertainty),
        closure=closure,
        weight=events.weight[good],
    )
    distances, angles = _distributions(structures)
    return EventDistribution(
        structures,
        distances,
        angles,
        tuple(warnings),
        len(events) - len(good),
        calibrated_for(card, [ion.element.symbol for ion in events.ions]),
        reason,
    )


def reconstruct_events_file(
    path: Path | str,
    out: Path | str,
    *,
    weights: str | None = None,
    seed: int = 0,
    device: str = "auto",
    command: str = "molexa_core.pipeline.reconstruction.single_events.reconstruct_events_file",
    progress: Progress = SILENT,
) -> EventDistribution:
    """Reconstruct every event of an `events.h5` or `aligned.h5`; writes `structures.h5`.

    Raises:
        InputFileError: the file is missing or not of its form.
        UsageError: see `reconstruct_events`; also an output name that does not end in `.h5`.
        OutputError: the result cannot be written.
    """
    if Path(out).suffix != ".h5" and not discards(out):
        raise UsageError(f"{out} does not end in .h5", do="Name an HDF5 file with `out=`.")
    named = weights or default_weights()
    require_outputs((out, FileKind.STRUCTURES), inputs=[path, *settings_inputs(weights=named)])
    events, before = read_events(path)
    require_complete(channel_of(events.meta), path)
    known = [*inherited(events.meta), *require_fresh(path, before)]
    say_unguarded(path, before, progress)
    events = replace(events, meta={**events.meta, WARNINGS: known})
    loaded = load_network(named, take_device(device))
    with about_file(path):
        found = reconstruct_events(events, weights=loaded, seed=seed, progress=progress)
    settings = {"weights": named, "device": device}
    made = Provenance.of(command, inputs=[path], settings=settings, seed=seed, after=before)
    write_structures(out, found.structures, made, warnings=found.warnings)
    return found


def _centred(events: Coincidences) -> FloatArray:
    """(n, N, 3) momenta in the centre-of-mass frame of each event.

    The sum of the momenta is subtracted in proportion to the masses: it comes from the velocity of
    the molecule and from the resolution, and has no information on the structure.
    """
    masses = np.array([ion.mass for ion in events.ions])
    total = events.momentum.sum(axis=1, keepdims=True)
    return np.asarray(events.momentum - (masses / masses.sum())[:, None] * total)


def _noise(network: Network, events: int, atoms: int, seed: int) -> list[NDArray[np.float32]]:
    """Standard normal numbers (events, atoms, 3) of the start and of each churned step."""
    random = np.random.default_rng([seed, 5])
    churned = len(churn_noise(network.settings.sampler, torch.zeros(0), None))
    shape = (events, atoms, 3)
    return [random.standard_normal(shape, dtype=np.float32) for _ in range(1 + churned)]


def _outside(card: ModelCard, events: Coincidences, momenta: FloatArray) -> BoolArray:
    """(n) whether events lie outside the training, according to the card."""
    ranges = read_ranges(card.data)
    if ranges is None:
        return np.full(len(momenta), bool(high_charges(card, events.ions)))
    charges = np.array([float(ion.charge) for ion in events.ions])
    masses = np.array([ion.mass for ion in events.ions])
    shape = momenta.shape[:2]
    return unlike(ranges, np.broadcast_to(charges, shape), np.broadcast_to(masses, shape), momenta)


def _unfamiliar(card: ModelCard, events: Coincidences, outside: BoolArray) -> list[str]:
    """A warning if many events lie outside the training."""
    if read_ranges(card.data) is None:
        return high_charges(card, events.ions)
    # Up to one in a hundred molecules of the training itself lies outside the ranges.
    if outside.mean() <= UNLIKE:
        return []
    sentence = (
        f"{100 * outside.mean():.3g} % of the events are unlike anything that {card.name} was "
        "trained on; their structures and error bars may be far off"
    )
    return [sentence]


def _reason(card: ModelCard, ions: Sequence[Ion], unlikely: BoolArray) -> str | None:
    """Why structures have no error bars; marks all if the weights are not calibrated."""
    if (why := uncalibrated(card, ions)) is not None:
        unlikely[:] = True
        return f"no error bars: {why}"
    if not unlikely.any():
        return None
    return (
        f"{int(unlikely.sum())} of {len(unlikely)} structures have no error bars: their momenta "
        "are unlike the training, or the structure does not explain them"
    )


def _drawn(
    network: Network,
    events: Coincidences,
    momenta: FloatArray,
    noise: list[NDArray[np.float32]],
    progress: Progress,
) -> tuple[FloatArray, FloatArray]:
    """Positions and expected errors (n, N, 3) in the frame of the momenta."""
    device = next(network.parameters()).device
    engine = Engine(network)
    atoms = len(events.ions)
    columns = (
        torch.tensor([ion.element.number for ion in events.ions], device=device),
        torch.tensor([float(ion.charge) for ion in events.ions], device=device),
        torch.tensor([ion.neutral_mass for ion in events.ions], device=device),
    )
    positions, expected = np.empty(momenta.shape), np.empty(momenta.shape)
    with progress.task("reconstructing", len(momenta), "events") as task:
        for start in range(0, len(momenta), BLOCK):
            rows = slice(start, start + BLOCK)
            measured = torch.from_numpy(momenta[rows]).float().to(device)
            count = len(measured)
            numbers, charges, masses = (one.expand(count, atoms) for one in columns)
            batch = Batch(numbers, charges.float(), masses.float(), measured)
            turn = batch_frames(batch.numbers, batch.momenta)
            own, *fresh = (torch.from_numpy(one[rows]).to(device) for one in noise)
            drawn = engine(batch.with_frame(turn), own, fresh=fresh)
            # The rows of the rotation are the axes of the model frame: its transpose rotates
            # positions back, and independent errors add in quadrature.
            back = torch.einsum("bxk,bnx->bnk", turn, drawn.positions)
            error = torch.einsum("bxk,bnx->bnk", turn**2, drawn.expected**2).sqrt()
            positions[rows] = back.double().cpu().numpy()
            expected[rows] = error.double().cpu().numpy()
            task.advance(count)
    return positions, expected


def _uncertainty(
    expected: FloatArray, events: Coincidences, calibration: Calibrations | None
) -> FloatArray:
    numbers = np.array([ion.element.number for ion in events.ions])
    return expected if calibration is None else calibration.half_widths(expected, numbers)


def _closure(
    events: Coincidences, positions: FloatArray, momenta: FloatArray, tau_fs: float
) -> FloatArray:
    charges = np.array([float(ion.charge) for ion in events.ions])
    masses = np.array([ion.mass for ion in events.ions])
    exploded = explode_many(
        positions,
        charges,
        masses,
        build_up=ErrorFunctionRise(tau_fs),
        accuracy="draft",
        strict=False,
    )
    misfit = ((exploded - momenta) ** 2).sum(axis=(1, 2))
    residual = np.sqrt(misfit / (momenta**2).sum(axis=(1, 2)))
    return np.where(np.isfinite(residual), residual, np.inf)


def _distributions(
    structures: EventStructures,
) -> tuple[list[Distribution], list[Distribution]]:
    labels = ion_labels(structures.ions)
    count = len(labels)
    distances = pair_distances(structures.positions)
    pairs = [f"{labels[i]}-{labels[j]}" for i, j in zip(*np.triu_indices(count, k=1), strict=True)]
    angles = triplet_angles(structures.positions)
    triplets = [
        f"{labels[i]}-{labels[vertex]}-{labels[j]}"
        for vertex in range(count)
        for i in range(count)
        for j in range(i + 1, count)
        if vertex not in (i, j)
    ]
    weight = structures.weight
    return (
        [
            _statistics(name, column, weight)
            for name, column in zip(pairs, distances.T, strict=True)
        ],
        [_statistics(name, column, weight) for name, column in zip(triplets, angles.T, strict=True)]
        if count > 2
        else [],
    )


def _statistics(name: str, values: FloatArray, weight: FloatArray) -> Distribution:
    mean = float(np.average(values, weights=weight))
    deviation = float(np.sqrt(np.average((values - mean) ** 2, weights=weight)))
    order = np.argsort(values)
    share = (np.cumsum(weight[order]) - 0.5 * weight[order]) / weight.sum()
    low, median, high = np.interp(QUANTILES, share, values[order])
    return {
        "of": name,
        "mean": mean,
        "error_of_mean": deviation / float(np.sqrt(weight.sum() ** 2 / (weight**2).sum())),
        "standard_deviation": deviation,
        "quantile_16": float(low),
        "median": float(median),
        "quantile_84": float(high),
    }
