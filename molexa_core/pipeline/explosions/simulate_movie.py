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
from molexa_core.pipeline.given.given_structure import Structure, structure_of
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
        files: that were written.
    """

    number: int
    outcomes: Outcomes
    channel: pd.DataFrame | None
    files: tuple[Path, ...] = ()

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
    structures: Sequence[Structure] | Path | str,
    ions: Sequence[Ion | str] | str | None = None,
    *,
    pulse: Pulse,
    options: ModelOptions | None = None,
    trajectories: int = TRAJECTORIES,
    seed: int = 0,
    device: str = "auto",
    out: Path | str | None = None,
    figure: Path | str | None = None,
    progress: Progress = SILENT,
) -> list[Scene]:
    """Simulate many explosions of every structure of a movie in an X-ray pulse.

    The first structure gives the same results as `simulate_mcmd`; the others have their own random
    numbers.

    Args:
        structures: an XYZ file of many structures; or structures, as for `simulate_mcmd`; all of
            the same atoms in the same order.
        ions: as for `simulate_mcmd`.
        pulse: the X-ray pulse, the same for all.
        options: switches of the model.
        trajectories: number of explosions of each structure.
        seed: of all random draws.
        device: `auto`, `cpu`, `cuda` or `cuda:0`.
        out: files to write, numbered by structure: `momenta.csv` gives `momenta.0001.csv` and so
            on. There is no CSV file for a structure in which the selected combination did not
            occur.
        figure: SVG files to write, numbered in the same way.
        progress: display of the progress.

    Returns:
        For each structure every combination of charges that occurred, the selected one, and the
        files that were written.

    Raises:
        InputFileError: no such file, structures with different atoms or isotopes, overlapping
            atoms, or too many structures.
        UsageError: a shipped molecule is named, or as in `simulate_mcmd`.
        UnknownIonError: the atomic model does not cover an element.
        NoEventsError: the combination occurred in no structure.
        OutputError: a result cannot be written.
    """
    options = ModelOptions() if options is None else options
    require_names(out, ions, figure)
    require_draws(trajectories, seed)
    frames, inputs = _frames(structures, progress)
    if len(frames) > MOST_STRUCTURES:
        raise InputFileError(
            f"the movie has {len(frames)} structures", do=f"Give at most {MOST_STRUCTURES}."
        )
    numbered = [
        result
        for number in range(1, len(frames) + 1)
        for result in results_of(_numbered(out, number), _numbered(figure, number))
    ]
    require_outputs(*numbered, inputs=inputs)
    single = isinstance(structures, Path | str)
    for number, frame in enumerate(frames, start=1):
        with about_file(f"{structures if single else 'the movie'}, structure {number}"):
            require_apart(frame.symbols, frame.positions, where=None)
    wanted = parse_ions(ions) if isinstance(ions, str) else ions
    chosen = None if wanted is None else ions_of_atoms(frames[0], wanted)
    frames = _with_isotopes(frames, chosen)
    if any(one.isotopes != frames[0].isotopes for one in frames):
        raise InputFileError("the structures have different isotopes", do="Give them one by one.")
    found = explode_geometries(
        frames[0].symbols,
        np.stack([scene.geometry.positions for scene in trajectory_variations(frames)]),
        None,
        pulse,
        options,
        trajectories=trajectories,
        seed=seed,
        device=device,
        energies=True,
        isotopes=frames[0].isotopes,
        progress=progress,
    )
    tables: list[pd.DataFrame | None] = [None] * len(found)
    for number, outcomes in enumerate(found if chosen is not None else ()):
        try:
            tables[number] = channel_table(outcomes, chosen or ())
        except NoEventsError as error:
            progress.say(f"structure {number + 1}: {error.what}")
    if chosen is not None and all(table is None for table in tables):
        channel_table(found[0], chosen)  # raises; the message names the most similar ones
    settings = {
        "model": "mcmd",
        "pulse": asdict(pulse),
        "options": asdict(options),
        "trajectories": trajectories,
        "ions": None if chosen is None else [str(ion) for ion in chosen],
        EXPLOSION: block_of(simulated("mcmd", pulse=pulse, options=options)),
    }
    scenes = []
    for number, (outcomes, table) in enumerate(zip(found, tables, strict=True), start=1):
        name = str(structures) if single else frames[number - 1].comment
        of_scene = {"geometry": name, "structure": number, **settings}
        record = Provenance.of(inputs=inputs, settings=of_scene, seed=seed)
        own = [_numbered(path, number) for path in (out, figure)]
        write_results(outcomes, table, record, out=own[0], figure=own[1])
        lacking = own[0] is not None and own[0].suffix == ".csv" and table is None
        files = tuple(path for path in own[lacking:] if path is not None)
        scenes.append(Scene(number, outcomes, table, files))
    return scenes


def _frames(
    structures: Sequence[Structure] | Path | str, progress: Progress
) -> tuple[list[Geometry], list[Path]]:
    """The structures of a movie, and the files that were read."""
    if not isinstance(structures, Path | str):
        given = [structure_of(one, progress) for one in structures]
        return [frame for frame, _ in given], [path for _, files in given for path in files]
    path = Path(structures)
    if not path.is_file() and path.suffix.lower() != ".xyz":
        raise UsageError(
            f"{str(structures)!r} is no file", do="Only an XYZ file has many structures."
        )
    return read_xyz(path, progress), [path]


def _with_isotopes(structures: list[Geometry], ions: Sequence[Ion] | None) -> list[Geometry]:
    """The structures with the isotopes of the ions, if these are given."""
    if ions is None:
        return structures
    return [replace(one, isotopes=isotopes_of(ions)) for one in structures]


def _numbered(path: Path | str | None, number: int) -> Path | None:
    if path is None or discards(path):
        return None
    return Path(path).with_suffix(f".{number:04}{Path(path).suffix}")
