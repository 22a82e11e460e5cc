"""Molecules and virtual experiments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from molexa.files import setup_of
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.tables import Geometry

if TYPE_CHECKING:
    from molexa_core.physics.molecules.library import Molecule
    from molexa_core.pipeline.runs.mock import MockRun


def molecule(name: str) -> Molecule:
    """A shipped molecule by name or formula: geometry, vibrations, bonds.

    Raises:
        InputFileError: no such molecule, or several with this formula.
    """
    from molexa_core.physics.molecules.library import molecule as found  # noqa: PLC0415

    return found(name)


def mock(
    channel: Channel | str,
    shots: int,
    *,
    setup: Setup | str | Path | None = None,
    structure: Geometry | Molecule | str | Path | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    layout: str = "root",
) -> MockRun | dict[str, int]:
    """A raw run of a molecule of known structure in a virtual experiment.

    Args:
        channel: a channel, its name or file.
        shots: number of light pulses.
        setup: the apparatus, or its file; the shipped one if not given.
        structure: what explodes: a structure, an XYZ file, or the name of a shipped molecule; the
            molecule of the channel if not given.
        seed: of all random draws.
        out: file to write instead, in bounded memory; its counts are returned then.
        layout: format of this file, such as `root`, `hdf5` or `lmf`.

    Raises:
        MolexaError: as `pipeline.runs.mock.mock`.
    """
    from molexa_core.pipeline.given.given_channel import channel as named_channel  # noqa: PLC0415
    from molexa_core.pipeline.given.given_structure import find_geometry  # noqa: PLC0415
    from molexa_core.pipeline.runs.mock import default_setup, write_mock  # noqa: PLC0415
    from molexa_core.pipeline.runs.mock import mock as mocked  # noqa: PLC0415

    known = setup_of(setup) or default_setup()
    one = named_channel(channel)
    read: list[Path] = []
    if isinstance(structure, str | Path):
        if Path(structure).exists():
            structure, files = find_geometry(structure)
            read = list(files)
        else:
            structure = molecule(str(structure))  # with its vibrations
    if out is None:
        return mocked(one, shots, setup=known, structure=structure, seed=seed)
    read += [Path(one) for one in (channel, setup) if isinstance(one, str | Path)]
    inputs = [path for path in read if path.is_file()]
    return write_mock(
        one,
        shots,
        out,
        setup=known,
        structure=structure,
        seed=seed,
        layout=layout,
        inputs=inputs,
    )
