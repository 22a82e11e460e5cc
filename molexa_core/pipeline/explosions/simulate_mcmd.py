"""Simulate with the Monte-Carlo model: many explosions of a geometry in an X-ray pulse.

Each explosion is one trajectory: atoms absorb photons and decay at random, so the final charges
differ between trajectories. Trajectories are counted by combination of charges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
import pandas as pd

from molexa_core.base.charge_combinations import Outcomes
from molexa_core.base.errors import UsageError
from molexa_core.base.fields import COUNT, EXPLOSION, ION, LABEL, MOMENTUM, MOMENTUM_ERROR, WARNINGS
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.known_explosion import block_of, simulated
from molexa_core.base.matter.ions import Ion, isotopes_of, parse_ions
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import ion_labels
from molexa_core.base.units import HARTREE_EV
from molexa_core.io.results.channel_csv import write_channel_csv
from molexa_core.io.results.channels_h5 import write_channels
from molexa_core.physics.coulomb.batches import require_apart
from molexa_core.pipeline.explosions.explode import explode_geometries
from molexa_core.pipeline.explosions.simulate import geometry_to_explode, ions_of_atoms
from molexa_core.pipeline.given.given_structure import Structure
from molexa_core.pipeline.output_guard import Output, discards, require_outputs

TRAJECTORIES: Final = 10_000
LARGEST_SEED: Final = 2**63 - 1


def simulate_mcmd(
    structure: Structure,
    pulse: Pulse,
    *,
    options: ModelOptions | None = None,
    trajectories: int = TRAJECTORIES,
    seed: int = 0,
    device: str = "auto",
    ions: Sequence[Ion | str] | str | None = None,
    out: Path | str | None = None,
    figure: Path | str | None = None,
    progress: Progress = SILENT,
) -> Outcomes:
    """Explode a geometry at rest many times in an X-ray pulse, by the Monte-Carlo model.

    Args:
        structure: positions in bohr; or a reconstruction, a molecule, an XYZ file (its first
            structure), or the name of a shipped molecule.
        pulse: the X-ray pulse.
        options: switches of the model; the defaults if not given.
        trajectories: number of explosions.
        seed: of all random draws; it gives the same explosions on any device, up to rounding.
        device: `auto`, `cpu`, `cuda` or `cuda:0`.
        ions: the final ion of each atom in order, also as `O+,H+,H+`, to write one combination;
            they also say which isotopes explode.
        out: file to write: `.h5` for all combinations, `.csv` for the one of `ions`
            (`channel_table`).
        figure: SVG file to write with charges and kinetic energy release.
        progress: display of the progress.

    Returns:
        Every combination of charges that occurred, with its count and momenta.

    Raises:
        InputFileError: no such file or molecule.
        UsageError: overlapping atoms, no trajectories, a seed out of range, or an output file name
            with the wrong suffix.
        UnknownIonError: the atomic model does not cover an element.
        NoEventsError: the combination did not occur.
        OutputError: a result cannot be written.
    """
    options = ModelOptions() if options is None else options
    require_names(out, ions, figure)
    require_draws(trajectories, seed)
    geometry, inputs = geometry_to_explode(structure, progress)
    require_apart(geometry.symbols, geometry.positions, where=geometry.comment or None)
    require_outputs(*results_of(out, figure), inputs=inputs)
    wanted = parse_ions(ions) if isinstance(ions, str) else ions
    chosen = None if wanted is None else ions_of_atoms(geometry, wanted)
    if chosen is not None:
        geometry = replace(geometry, isotopes=isotopes_of(chosen))
    (outcomes,) = explode_geometries(
        geometry.symbols,
        geometry.positions[None],
        None,
        pulse,
        options,
        trajectories=trajectories,
        seed=seed,
        device=device,
        energies=True,
        isotopes=geometry.isotopes,
        progress=progress,
    )
    known = replace(outcomes.geometry, warnings=geometry.warnings)
    outcomes = replace(outcomes, geometry=known)
    if out is None and figure is None:
        return outcomes
    settings = {
        "geometry": str(structure) if isinstance(structure, Path | str) else geometry.comment,
        "model": "mcmd",
        "pulse": asdict(pulse),
        "options": asdict(options),
        "trajectories": trajectories,
        "ions": None if chosen is None else [str(ion) for ion in chosen],
        EXPLOSION: block_of(simulated("mcmd", pulse=pulse, options=options)),
    }
    record = Provenance.of(inputs=inputs, settings=settings, seed=seed)
    table = None if chosen is None else channel_table(outcomes, chosen)
    write_results(outcomes, table, record, out=out, figure=figure)
    return outcomes


def channel_table(outcomes: Outcomes, ions: Sequence[Ion | str]) -> pd.DataFrame:
    """One combination as in channel.csv: ions, mean momenta, their errors, count, labels.

    Args:
        outcomes: all combinations.
        ions: the final ion of each atom, in the order of the atoms.

    Raises:
        UsageError: the ions do not fit the atoms.
        NoEventsError: the combination did not occur; the message lists those that did, most
            similar first.
    """
    chosen = ions_of_atoms(outcomes.geometry, ions, exploded=True)
    row = outcomes.find([ion.charge for ion in chosen])
    columns: dict[str, Any] = {ION: [str(ion) for ion in chosen]}
    columns |= {name: outcomes.momenta[row, :, axis] for axis, name in enumerate(MOMENTUM)}
    columns |= {name: outcomes.errors[row, :, axis] for axis, name in enumerate(MOMENTUM_ERROR)}
    columns |= {COUNT: int(outcomes.counts[row]), LABEL: ion_labels(chosen)}
    table = pd.DataFrame(columns)
    table.attrs[WARNINGS] = list(outcomes.geometry.warnings)
    return table


def results_of(out: Path | str | None, figure: Path | str | None) -> list[Output]:
    """The files that `write_results` writes, and their kinds."""
    table = out is not None and Path(out).suffix == ".csv"
    return [(out, FileKind.MOMENTA if table else FileKind.CHANNELS), (figure, FileKind.FIGURE)]


def write_results(
    outcomes: Outcomes,
    table: pd.DataFrame | None,
    record: Provenance,
    *,
    out: Path | str | None,
    figure: Path | str | None,
) -> None:
    """Write the results: all combinations (`.h5`) or the table of one (`.csv`), and the figure.

    Raises:
        OutputError: a result cannot be written.
    """
    if out is not None and Path(out).suffix == ".h5":
        write_channels(out, outcomes, record)
    elif out is not None and table is not None:
        write_channel_csv(out, table, record)
    if figure is not None:
        from molexa_core.report.combination_figure import combinations_svg  # noqa: PLC0415

        combinations_svg(figure, outcomes, record)


class AtomSummary(TypedDict):
    """The charges of one atom: mean, and the share of explosions with charge 0, 1, 2, ..."""

    atom: str
    mean_charge: float
    shares: list[float]


class CombinationSummary(TypedDict):
    """One combination of charges: how often it occurred, its energy, its mean momenta."""

    ions: list[str]
    count: int
    share: float
    ker_ev: float
    ker_spread_ev: float | None
    momentum: list[list[float]]
    spread: list[list[float]]


class Summary(TypedDict):
    """Outcomes of explosions as plain values. Energies in eV, else a.u."""

    trajectories: int
    lost: int
    photons: float
    mean_total_charge: float
    atoms: list[AtomSummary]
    combinations: list[CombinationSummary]
    warnings: list[str]


def summary(outcomes: Outcomes) -> Summary:
    """The printed results as plain values, for JSON. Energies in eV, otherwise atomic units."""
    charges = np.arange(outcomes.charge_states.shape[1])
    shares = outcomes.charge_states / max(outcomes.trajectories, 1)
    atoms: list[AtomSummary] = [
        {
            "atom": f"{symbol} {number}",
            "mean_charge": float(share @ charges),
            "shares": [round(float(value), 6) for value in np.trim_zeros(share, "b")],
        }
        for number, (symbol, share) in enumerate(
            zip(outcomes.geometry.names, shares, strict=True), 1
        )
    ]
    spread = outcomes.release_spread
    combinations: list[CombinationSummary] = [
        {
            "ions": outcomes.names(row),
            "count": int(outcomes.counts[row]),
            "share": float(outcomes.counts[row] / outcomes.trajectories),
            "ker_ev": float(outcomes.release[row] * HARTREE_EV),
            "ker_spread_ev": None if spread is None else float(spread[row] * HARTREE_EV),
            "momentum": outcomes.momenta[row].tolist(),
            "spread": outcomes.spread[row].tolist(),
        }
        for row in range(len(outcomes))
    ]
    return {
        "trajectories": outcomes.trajectories,
        "lost": outcomes.lost,
        "photons": outcomes.photons,
        "mean_total_charge": float(shares.sum(axis=0) @ charges),
        "atoms": atoms,
        "combinations": combinations,
        WARNINGS: list(outcomes.geometry.warnings),
    }


def require_draws(trajectories: int, seed: int) -> None:
    """Check the number of explosions and the seed.

    Raises:
        UsageError: no explosions, or a seed out of range.
    """
    if trajectories < 1:
        raise UsageError(f"{trajectories} trajectories", do="Ask for 1 or more.")
    if not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"seed {seed}", do=f"Give a number from 0 to {LARGEST_SEED}.")


def require_names(
    out: Path | str | None,
    charges: Sequence[Ion | str] | str | None,
    figure: Path | str | None,
) -> None:
    """Check the names of the output files before a long computation."""
    if figure is not None and Path(figure).suffix != ".svg" and not discards(figure):
        raise UsageError("the figure is an SVG file", where=figure, do="Name it .svg.")
    if out is None or discards(out):
        return
    suffix = Path(out).suffix
    if suffix == ".csv" and charges is None:
        raise UsageError(
            "a CSV file holds one combination of charges",
            where=out,
            do="Name it with `charges=`, or write all combinations to a .h5 file.",
        )
    if suffix not in (".csv", ".h5"):
        raise UsageError(
            f"no known form of results ends in {suffix!r}",
            where=out,
            do="Use .h5 for all combinations, or .csv and `charges=` for one.",
        )
