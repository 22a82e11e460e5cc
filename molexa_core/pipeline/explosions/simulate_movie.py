"""Simulate every structure of a movie with the Monte-Carlo model, such as a ring opening.

A structure explodes within femtoseconds, while a reaction takes a hundred times as long. Each
structure is a snapshot of the reaction, probed by its own pulse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from molexa_core.base.charge_combinations import Outcomes
from molexa_core.base.errors import InputFileError, NoEventsError, UsageError, about_file
from molexa_core.base.fields import EXPLOSION
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.known_explosion import block_of, simulated
from molexa_core.base.matter.ions import Ion, isotopes_of, parse_ions
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.base.units import HARTREE_EV
from molexa_core.io.xyz import read_xyz
from molexa_core.physics.coulomb.batches import require_apart
from molexa_core.physics.molecules.variations import trajectory_variations
from molexa_core.pipeline.explosions.explode import explode_geometries
from molexa_core.pipeline.explosions.simulate import ions_of_atoms
from molexa_core.pipeline.explosions.simulate_mcmd import (
    TRAJECTORIES,
    channel_table,
    require_draws,
    require_names,
    results_of,
    write_results,
)
from molexa_core.pipeline.output_guard import discards, require_outputs

MOST_STRUCTURES: Final = 10_000
"""Largest number of structures; a longer movie is probably a mistake."""


@dataclass(frozen=True)
class Scene:
    """The results for one structure of a movie.

    Attributes:
        number: its number in the movie, from 1.
        outcomes: all combinations of charges.
        channel: the selected combination; None if none is selected or it did not occur.
    """

    number: int
    outcomes: Outcomes
    channel: pd.DataFrame | None

    @property
    def count(self) -> int | None:
        """Number of explosions that ended in the selected combination."""
        return None if self.channel is None else int(self.channel["count"].iloc[0])

    @property
    def mean_charge(self) -> float:
        """Mean of the total charge."""
        states = self.outcomes.charge_states
        return float((states @ np.arange(states.shape[1])).sum() / self.outcomes.trajectories)

    @property
    def release_ev(self) -> float:
        """Mean kinetic energy release of all explosions, eV."""
        found = self.outcomes
        return float(found.counts @ found.release / found.counts.sum() * HARTREE_EV)


def simulate_movie(
    structures: Sequence[Geometry],
    *,
    pulse: Pulse,
    options: ModelOptions | None = None,
    trajectories: int = TRAJECTORIES,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = SILENT,
) -> list[Outcomes]:
    """Simulate many explosions of every structure of a movie in an X-ray pulse.

    The first structure gives the same results as `simulate_mcmd`; the others have their own random
    numbers.

    Args:
        structures: positions in bohr; all of the same atoms in the same order.
        pulse: the X-ray pulse, the same for all.
        options: switches of the model.
        trajectories: number of explosions of each structure.
        seed: of all random draws.
        device: `auto`, `cpu`, `cuda` or `cuda:0`.
        progress: display of the progress.

    Returns:
        For each structure every combination of charges that occurred.

    Raises:
        InputFileError: structures with different atoms, overlapping atoms, or too many structures.
        UsageError: no trajectories, or a seed out of range.
        UnknownIonError: the atomic model does not cover an element.
    """
    require_draws(trajectories, seed)
    if len(structures) > MOST_STRUCTURES:
        raise InputFileError(
            f"the movie has {len(structures)} structures", do=f"Give at most {MOST_STRUCTURES}."
        )
    if any(one.isotopes != structures[0].isotopes for one in structures):
        raise InputFileError("the structures have different isotopes", do="Give them one by one.")
    scenes = trajectory_variations(structures)
    return explode_geometries(
        structures[0].symbols,
        np.stack([scene.geometry.positions for scene in scenes]),
        None,
        pulse,
        ModelOptions() if options is None else options,
        trajectories=trajectories,
        seed=seed,
        device=device,
        energies=True,
        isotopes=structures[0].isotopes,
        progress=progress,
    )


def _with_isotopes(structures: list[Geometry], ions: Sequence[Ion] | None) -> list[Geometry]:
    """The structures with the isotopes of the ions, if these are given."""
    if ions is None:
        return structures
    return [replace(one, isotopes=isotopes_of(ions)) for one in structures]


def simulate_movie_file(
    source: Path | str,
    charges: str | None = None,
    *,
    pulse: Pulse,
    options: ModelOptions | None = None,
    trajectories: int = TRAJECTORIES,
    seed: int = 0,
    device: str = "auto",
    out: Path | str | None = None,
    figure: Path | str | None = None,
    progress: Progress = SILENT,
) -> tuple[list[Scene], list[Path]]:
    """Simulate every structure of an XYZ file; see `simulate_mcmd` for the arguments.

    The result files are numbered by structure: `out="momenta.csv"` gives `momenta.0001.csv` and so
    on. There is no CSV file for a structure in which the selected combination did not occur.

    Returns:
        The results for each structure, and the files that were written.

    Raises:
        InputFileError: no such file, or structures with different atoms.
        UsageError: a shipped molecule is named, or as in `simulate_mcmd`.
        NoEventsError: the combination occurred in no structure.
        OutputError: a result cannot be written.
    """
    options = ModelOptions() if options is None else options
    require_names(out, charges, figure)
    if not Path(source).is_file() and Path(source).suffix.lower() != ".xyz":
        raise UsageError(f"{str(source)!r} is no file", do="Only an XYZ file has many structures.")
    structures = read_xyz(Path(source), progress)
    numbered = [
        result
        for number in range(1, len(structures) + 1)
        for result in results_of(_numbered(out, number), _numbered(figure, number))
    ]
    require_outputs(*numbered, inputs=[source])
    for number, structure in enumerate(structures, start=1):
        with about_file(f"{source}, structure {number}"):
            require_apart(structure.symbols, structure.positions, where=None)
    ions = None if charges is None else ions_of_atoms(structures[0], parse_ions(charges))
    structures = _with_isotopes(structures, ions)
    found = simulate_movie(
        structures,
        pulse=pulse,
        options=options,
        trajectories=trajectories,
        seed=seed,
        device=device,
        progress=progress,
    )
    scenes, written = [], []
    for number, outcomes in enumerate(found, start=1):
        table = None
        if ions is not None:
            try:
                table = channel_table(outcomes, ions)
            except NoEventsError as error:
                progress.say(f"structure {number}: {error.what}")
        scenes.append(Scene(number, outcomes, table))
    if ions is not None and all(scene.channel is None for scene in scenes):
        channel_table(found[0], ions)  # raises; the message names the most similar ones
    for scene in scenes:
        settings = {
            "geometry": str(source),
            "structure": scene.number,
            "model": "mcmd",
            "pulse": asdict(pulse),
            "options": asdict(options),
            "trajectories": trajectories,
            "ions": None if ions is None else [str(ion) for ion in ions],
            EXPLOSION: block_of(simulated("mcmd", pulse=pulse, options=options)),
        }
        record = Provenance.of(inputs=(Path(source),), settings=settings, seed=seed)
        own = [_numbered(path, scene.number) for path in (out, figure)]
        write_results(scene.outcomes, scene.channel, record, out=own[0], figure=own[1])
        lacking = own[0] is not None and own[0].suffix == ".csv" and scene.channel is None
        written += [path for path in own[lacking:] if path is not None]
    return scenes, written


def _numbered(path: Path | str | None, number: int) -> Path | None:
    if path is None or discards(path):
        return None
    return Path(path).with_suffix(f".{number:04}{Path(path).suffix}")
