"""Virtual experiments and explosions of known structures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molexa.chain import structure_of
from molexa.files import setup_of
from molexa.settings import channel as channel_named
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.matter.ions import Ion
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.tables import Geometry

if TYPE_CHECKING:
    from molexa_core.base.charge_combinations import Outcomes
    from molexa_core.physics.molecules.library import Molecule
    from molexa_core.pipeline.explosions.simulate import Explosion
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
    from molexa_core.pipeline.named_structure import find_geometry  # noqa: PLC0415
    from molexa_core.pipeline.runs.mock import default_setup, write_mock  # noqa: PLC0415
    from molexa_core.pipeline.runs.mock import mock as mocked  # noqa: PLC0415

    known = setup_of(setup) or default_setup()
    one = channel_named(channel)
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


def simulate(
    geometry: Geometry | str | Path, ions: Sequence[Ion | str], **options: Any
) -> Explosion:
    """Explode a geometry as point charges.

    Args:
        geometry: a structure, a reconstruction, an XYZ file, or the name of a shipped molecule.
        ions: of every atom, in any order.
        options: `model`, `tau_fs`, `times_fs`, `rises`.

    Raises:
        MolexaError: as `pipeline.explosions.simulate.simulate`.
    """
    from molexa_core.pipeline.explosions.simulate import simulate as simulated  # noqa: PLC0415

    return simulated(structure_of(geometry), ions, **options)


def explode(
    geometry: Geometry | str | Path,
    pulse: Pulse,
    *,
    model: ModelOptions | None = None,
    trajectories: int = 10_000,
    seed: int = 0,
    device: str = "auto",
) -> Outcomes:
    """Explode a geometry many times in an X-ray pulse, by the Monte-Carlo model.

    Args:
        geometry: a structure, a reconstruction, an XYZ file, or the name of a shipped molecule.
        pulse: the X-ray pulse.
        model: switches of the model.
        trajectories: number of explosions.
        seed: of all random draws.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        MolexaError: as `pipeline.explosions.simulate_mcmd.simulate_mcmd`.
    """
    from molexa_core.pipeline.explosions.simulate_mcmd import simulate_mcmd  # noqa: PLC0415

    return simulate_mcmd(
        structure_of(geometry),
        pulse=pulse,
        options=model,
        trajectories=trajectories,
        seed=seed,
        device=device,
    )
