"""User-supplied movies as molecules of a data set: every frame of an XYZ file is a geometry."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from molexa_core.base.errors import InputFileError, SettingsError, UnknownIonError, listing
from molexa_core.base.matter.elements import sum_formula
from molexa_core.io.xyz import read_xyz
from molexa_core.physics.atomic.shells import covered_element
from molexa_core.physics.molecules.library import Molecule, molecule, molecule_names, molecules
from molexa_core.physics.molecules.variations import Variation, trajectory_variations
from molexa_core.pipeline.datasets.movies import MOST_COORDINATES, Movie
from molexa_core.pipeline.datasets.recipe import Recipe

FARTHEST_BOHR: Final = 1000.0
"""Largest coordinate relative to the centre of mass; data sets have single precision."""


def read_movie(path: Path, *, held_out: bool, largest: int) -> Movie:
    """Read the structures of an XYZ file, relative to their centre of mass and not rotated.

    Args:
        path: the file; its name without suffix becomes that of the molecule.
        held_out: see `Movie`.
        largest: largest number of atoms that the recipe allows.

    Raises:
        InputFileError: the file does not exist or is not a valid XYZ file; see also `frames_of`.
        SettingsError: the molecule has one atom, or more than `largest`.
    """
    frames = read_xyz(path)
    if any(frame.isotopes is not None for frame in frames):
        raise InputFileError(
            "data sets hold elements, not isotopes",
            where=path,
            do="Write the elements alone; the most abundant isotopes are exploded.",
        )
    atoms = len(frames[0])
    if atoms < 2:
        raise SettingsError("one atom does not explode", where=path, do="Give two atoms or more.")
    if atoms > largest:
        raise SettingsError(
            f"{atoms} atoms, but molecules -> largest is {largest}",
            where=path,
            do=f"Write molecules: {{largest: {atoms}}} in the recipe, or leave the file out.",
        )
    try:
        trajectory_variations(frames)
    except InputFileError as error:
        raise InputFileError(error.what, where=f"{path}, {error.where}", do=error.do) from error
    masses = Molecule("", frames[0]).masses
    positions = np.array([frame.positions for frame in frames])
    positions -= (masses @ positions / masses.sum())[:, None]
    return Movie(
        name=path.stem,
        symbols=frames[0].symbols,
        frames=tuple(tuple(frame) for frame in positions.reshape(len(frames), -1).tolist()),
        held_out=held_out,
    )


def check_movies(recipe: Recipe, where: object) -> None:
    """Check that movies can be exploded and do not conflict with the other molecules.

    Raises:
        InputFileError: two atoms coincide, or atoms are too far apart.
        SettingsError: a name is taken, the model does not cover an element, there are more
            coordinates than `MOST_COORDINATES`, or a molecule for training has isomers that are
            held out.
    """
    if sum(len(movie.frames) * 3 * len(movie.symbols) for movie in recipe.movies) > (
        MOST_COORDINATES
    ):
        raise SettingsError(
            f"movies: more than {MOST_COORDINATES} coordinates in all",
            where=where,
            do="Leave out every other frame, or make several data sets.",
        )
    taken = set(molecule_names())
    for movie in recipe.movies:
        key = f"movies -> {movie.name}"
        if movie.name in taken:
            raise SettingsError(
                f"{key}: another molecule has this name", where=where, do="Rename the file."
            )
        taken.add(movie.name)
        try:
            for symbol in set(movie.symbols):
                covered_element(symbol)
            _check_frames(movie)
        except (InputFileError, UnknownIonError) as error:
            place = "" if error.where is None else f"{error.where}: "
            raise SettingsError(f"{key}: {place}{error.what}", where=where, do=error.do) from error
        if not movie.held_out:
            _require_no_isomer_held_out(movie, where)


def movie_named(recipe: Recipe, name: str) -> Movie | None:
    """The movie of this name; None if the name is that of a shipped molecule."""
    return next((movie for movie in recipe.movies if movie.name == name), None)


def molecule_named(recipe: Recipe, name: str) -> Molecule:
    """A molecule of a data set: a shipped one, or the first frame of a movie.

    Raises:
        InputFileError: there is no molecule of this name.
    """
    movie = movie_named(recipe, name)
    if movie is None:
        return molecule(name)
    first = movie.geometries()[0]
    return Molecule(movie.name, first, split="held-out" if movie.held_out else "train")


def frames_of(movie: Movie) -> list[Variation]:
    """The structures of a movie as variations of its molecule.

    Raises:
        InputFileError: two atoms of a frame coincide.
    """
    return trajectory_variations(movie.geometries())


def all_names(recipe: Recipe) -> Iterable[str]:
    """The names of all molecules of a data set: the shipped ones, then those of the movies."""
    return (*recipe.molecules, *(movie.name for movie in recipe.movies))


def _check_frames(movie: Movie) -> None:
    frames_of(movie)
    for number, frame in enumerate(movie.frames, start=1):
        if max(abs(value) for value in frame) > FARTHEST_BOHR:
            raise InputFileError(
                f"an atom is more than {FARTHEST_BOHR:g} bohr from the centre of mass",
                where=f"structure {number} of the trajectory",
                do="Check the coordinates and their unit (XYZ files are in angstrom).",
            )


def _require_no_isomer_held_out(movie: Movie, where: object) -> None:
    formula = sum_formula(movie.symbols)
    held = [found.name for found in molecules(splits=["held-out"]) if found.formula == formula]
    if held:
        raise SettingsError(
            f"movies -> {movie.name}: {formula} is held out from training ({listing(held)})",
            where=where,
            do="Write held_out: true.",
        )
