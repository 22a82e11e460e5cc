"""Reconstruct: the structure before the explosion from mean momenta of the ions.

The network draws several structures. They are refined until their explosion, in the forward model
of the training, gives the measured momenta (closure); a search from further starts finds structures
that the network did not draw. If several fit, the answer is a chemically plausible one, and of
these the one that most samples led to; the others are listed as alternatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from molexa_core.base.errors import UsageError, about_file
from molexa_core.base.fields import WARNINGS
from molexa_core.base.matter.ions import Ion, isotopes_of
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.files import require_file
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.io.results.channel_csv import read_channel_csv, warnings_of
from molexa_core.io.results.geometry_json import ReconstructionRecord, write_geometry_json
from molexa_core.io.xyz import read_xyz, write_xyz
from molexa_core.network.inference.answers import (
    Structures,
    check_ions,
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
    default_weights,
    forward_of,
    load_network,
    tau_of,
)
from molexa_core.pipeline.chain.channel_limits import channel_of_record, require_complete
from molexa_core.pipeline.chain.stale import require_fresh, say_unguarded
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.output_guard import (
    beside_output,
    discards,
    require_outputs,
    settings_inputs,
)
from molexa_core.pipeline.reconstruction.choice import (
    choice,
    chosen,
    closure_record,
    closure_residuals,
    other_model,
)
from molexa_core.pipeline.reconstruction.error_bars import (
    doubts_of_lengths,
    doubts_of_momenta,
    require_possible,
    without_error_bars,
)
from molexa_core.pipeline.reconstruction.momenta_input import (
    read_columns,
    require_atoms,
    unfamiliar,
    without_sum,
)
from molexa_core.pipeline.reconstruction.solutions import Solution, solutions

SAMPLES: Final = 16
"""Default number of structures drawn."""
PERTURBED: Final = 12
"""Number of draws of the momenta within their errors, for the error bars."""
SEARCH: Final = 24
"""Default number of further starts of the search for structures that fit."""
GAUSSIAN: Final = math.sqrt(math.pi / 2.0)
"""Ratio of standard deviation and mean absolute error of a normal distribution."""


def reconstruct(
    table: pd.DataFrame,
    *,
    weights: str | tuple[Network, ModelCard] | None = None,
    samples: int = SAMPLES,
    search: int = SEARCH,
    refined: bool | None = None,
    chemistry: bool = True,
    seed: int = 0,
    device: str = "auto",
    known: Geometry | None = None,
    progress: Progress = SILENT,
) -> ReconstructionRecord:
    """Reconstruct the structure from mean momenta.

    Args:
        table: columns `ion`, `px`, `py`, `pz` in a.u. and, if known, their errors
            (`pipeline.chain.centroid.centroid`), in any frame.
        weights: name or path of weights, or a loaded network with its card; the shipped ones if
            not given.
        samples: number of structures to draw.
        search: number of further starts, to find structures that the network does not draw.
        refined: whether samples are refined on the classical model; if not, the answer is a
            sample, and there is no search. None: refined if the weights were trained on the
            classical model (`weights.forward_of`).
        chemistry: whether a chemically plausible structure is preferred if several fit the
            momenta; switch it off for dissociating molecules.
        seed: of the samples and of the search.
        device: `auto`, `cpu` or `cuda`.
        known: the true structure; the errors relative to it are recorded.
        progress: display of the progress.

    Returns:
        Positions in bohr in the frame of the momenta, centred, atoms in the order of the table;
        uncertainties (one standard deviation per coordinate: the network's expected error and
        the propagated errors of the momenta, added in quadrature), or the reason why there are
        none; all samples; closure.

    Raises:
        ColumnError: a column is missing.
        UnknownIonError: an ion that the network does not know.
        UsageError: too few or too many ions, all momenta are zero, or the known structure has
            other atoms.
        WeightsError: damaged weights.
    """
    if samples < 1:
        raise UsageError(f"{samples} samples", do="Ask for at least one.")
    network, card = _loaded(weights, take_device(device))
    measured = _measured(table, network, card)
    ions, momenta, errors = measured.ions, measured.momenta, measured.errors
    forward = forward_of(card)
    refined = forward == "classical" if refined is None else refined
    tau_fs = tau_of(card)
    engine = Engine(network)
    with progress.task("reconstructing", 3.0, "steps") as task:
        drawn = reconstruct_structures(engine, ions, momenta, samples=samples, seed=seed)
        residuals = closure_residuals(drawn.samples, ions, momenta, tau_fs)
        task.advance()
        candidates = solutions(
            drawn.samples,
            ions,
            momenta,
            errors=errors,
            width=drawn.uncertainty,
            tau_fs=tau_fs,
            refined=refined,
            search=search,
            chemistry=chemistry,
            seed=seed,
        )
        answer, alternatives = chosen(
            candidates, drawn.samples, residuals, forward=forward, chemistry=chemistry
        )
        task.advance()
        propagated = _propagated(engine, measured, seed)
        task.advance()
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
    uncertainty = None
    if reason is None:
        uncertainty = np.hypot(_model_error(network, card, ions, drawn, answer), propagated)
    warnings = [*measured.warnings, *other_model(forward, refined=refined), *card_remarks(card)]
    if forward == "classical":
        warnings += choice(answer, alternatives, chemistry=chemistry)
    warnings += doubts_of_lengths(Geometry(symbols, answer.positions))
    record = ReconstructionRecord(
        symbols=symbols,
        isotopes=isotopes_of(ions),
        positions_bohr=answer.positions,
        charges=tuple(ion.charge for ion in ions),
        uncertainty_bohr=uncertainty,
        uncertainty_reason=reason,
        spread_bohr=drawn.samples.std(axis=0),
        samples_bohr=drawn.samples,
        closure=closure_record(residuals, answer, tau_fs, forward=forward, refined=refined),
        model={
            "name": card.name,
            "parameters": card.parameters,
            "files": card.files,
            "calibration": calibrated_for(card, list(symbols)),
        },
        input={
            "ions": [str(ion) for ion in ions],
            "momenta": momenta.tolist(),
            "momentum_errors": None if errors is None else errors.tolist(),
            "samples": samples,
            "search": search,
            "chemistry": chemistry,
            "seed": seed,
            "collinear": drawn.collinear,
            "frames": drawn.frames,
        },
        alternatives=tuple(solution.to_dict(answer.positions) for solution in alternatives),
        warnings=tuple(warnings),
    )
    return record if known is None else replace(record, errors=_errors_against(record, known))


@dataclass(frozen=True)
class _Measured:
    """Mean momenta in the form of the input of the network.

    Attributes:
        ions: (N) atomic ions.
        momenta: (N, 3) a.u. in the centre-of-mass frame.
        errors: (N, 3) their standard errors; None if not known.
        warnings: sentences for the user.
        unlike: the warnings on differences from the training.
    """

    ions: list[Ion]
    momenta: FloatArray
    errors: FloatArray | None
    warnings: list[str]
    unlike: list[str]


def _measured(table: pd.DataFrame, network: Network, card: ModelCard) -> _Measured:
    """Read and check the momenta of a table, with warnings about them."""
    ions, momenta, errors = read_columns(table)
    check_ions(network, ions)
    require_possible(ions, momenta)
    momenta, remarks = without_sum(ions, momenta, errors)
    unlike = unfamiliar(card, ions, momenta)
    warnings = [*warnings_of(table), *remarks, *doubts_of_momenta(ions, momenta), *unlike]
    return _Measured(ions, momenta, errors, warnings, unlike)


def _loaded(
    weights: str | tuple[Network, ModelCard] | None, device: str
) -> tuple[Network, ModelCard]:
    if isinstance(weights, tuple):
        return weights
    return load_network(weights or default_weights(), device)


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


def reconstruct_file(
    path: Path | str,
    out: Path | str,
    *,
    weights: str | None = None,
    samples: int = SAMPLES,
    search: int = SEARCH,
    refined: bool | None = None,
    chemistry: bool = True,
    seed: int = 0,
    device: str = "auto",
    truth: Path | str | None = None,
    command: str = "molexa_core.pipeline.reconstruction.reconstruct.reconstruct_file",
    progress: Progress = SILENT,
) -> ReconstructionRecord:
    """Reconstruct a `channel.csv`; writes an XYZ file and a JSON file of the same name.

    Raises:
        InputFileError: a file is missing or has another format.
        OutputError: the result cannot be written.
        UsageError: as in `reconstruct`, or the name of the output does not end in `.xyz`.
    """
    target = Path(out)
    if target.suffix != ".xyz" and not discards(target):
        raise UsageError(f"{target} does not end in .xyz", do="Name an XYZ file with `out=`.")
    beside = beside_output(target, ".json")
    require_outputs(
        (target, FileKind.GEOMETRY),
        (beside, FileKind.RECONSTRUCTION),
        inputs=[path, truth, *settings_inputs(weights=weights or default_weights())],
    )
    table, before = read_channel_csv(path, progress)
    require_complete(channel_of_record(before), path)
    table.attrs[WARNINGS] = [*warnings_of(table), *require_fresh(path, before)]
    say_unguarded(path, before, progress)
    known = None if truth is None else _first_structure(truth, progress)
    if known is not None and truth is not None:
        require_atoms(table, known, truth)
    loaded = _loaded(weights, take_device(device))
    if samples < 1:
        raise UsageError(f"{samples} samples", do="Ask for at least one.")
    with about_file(path):
        record = reconstruct(
            table,
            weights=loaded,
            samples=samples,
            search=search,
            refined=refined,
            chemistry=chemistry,
            seed=seed,
            known=known,
            progress=progress,
        )
    record = replace(record, input={**record.input, "file": str(path)})
    inputs = [path] if truth is None else [path, truth]
    settings = {
        "weights": record.model["name"],
        "samples": samples,
        "search": search,
        "refined": record.closure["refined"],
        "chemistry": chemistry,
        "device": device,
    }
    made = Provenance.of(command, inputs=inputs, settings=settings, seed=seed, after=before)
    write_geometry_json(beside, record, made)
    write_xyz(target, [record.geometry()], made)
    return record


def _propagated(engine: Engine, measured: _Measured, seed: int) -> FloatArray:
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
    drawn = reconstruct_sets(engine, ions, moved, samples=1, seed=seed)
    answers = [structures.samples[0] for structures in drawn]
    scatter: FloatArray = np.std(answers, axis=0, ddof=1)
    return scatter


def _errors_against(record: ReconstructionRecord, known: Geometry) -> dict[str, Any]:
    # Superposition imports scipy's optimizers, which takes a third of a second.
    from molexa_core.pipeline.chain.score import score  # noqa: PLC0415

    return score(record.geometry(), known).to_dict()


def _first_structure(path: Path | str, progress: Progress) -> Geometry:
    return read_xyz(require_file(path), progress)[0]
