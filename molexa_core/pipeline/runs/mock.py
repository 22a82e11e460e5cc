"""Mock: simulate a raw run of a channel with the virtual experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import InputFileError, UsageError, about_file
from molexa_core.base.fields import EXPLOSION
from molexa_core.base.forward_model import ChargeBuildUp
from molexa_core.base.known_explosion import simulated
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import (
    Channel,
    Explosion,
    Setup,
    load_channel,
    load_project,
    load_setup,
    parse_settings,
)
from molexa_core.base.shown import Shown
from molexa_core.base.storage.files import require_file
from molexa_core.base.storage.outputs import FileKind, run_kind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.storage.resources import find
from molexa_core.base.tables import Geometry, Hits
from molexa_core.base.truth import VirtualTruth
from molexa_core.io.formats import edge_writers, hit_writers, require_writer
from molexa_core.io.results.truth_file import truth_writer
from molexa_core.io.run_format import Places
from molexa_core.io.xyz import read_xyz
from molexa_core.physics.coulomb.batches import require_apart
from molexa_core.physics.molecules.library import Molecule, molecule
from molexa_core.physics.virtual.experiment import (
    Block,
    equilibrium_of,
    run_blocks,
    target_of,
)
from molexa_core.physics.virtual.sources import Target, molecule_tables
from molexa_core.pipeline.output_guard import require_outputs, settings_inputs
from molexa_core.pipeline.runs.mock_edges import edge_places, edges_of

DEFAULT_SETUP: Final = "setup"
"""Name of the template that is used if no setup is given."""
LARGEST_SEED: Final = 2**63 - 1


@dataclass(frozen=True, repr=False)
class MockRun(Shown):
    """A virtual run in memory.

    Attributes:
        hits: all shots, as stored in a run.
        truth: the true molecules and the origin of each hit.
        counts: numbers of shots, molecules, ions by kind, stored hits, and lost hits by reason.
        channel: the ions that the molecule broke into.
        setup: the apparatus; it also says how the molecule exploded.
    """

    hits: Hits
    truth: VirtualTruth
    counts: dict[str, int]
    channel: Channel
    setup: Setup


def mock(
    channel: Channel,
    shots: int,
    *,
    setup: Setup,
    structure: Molecule | Geometry | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> MockRun:
    """Simulate a virtual run in memory.

    Args:
        channel: the ions that the molecule breaks into.
        shots: number of shots.
        setup: apparatus, and its imperfections in the block `virtual`.
        structure: the molecule; that of the channel if not given. A bare geometry has no normal
            modes: its zero-point spread is the Gaussian of the setup.
        seed: of all random draws.
        progress: receives notices on fallbacks.

    Returns:
        Hits, truth and counts. The first shots of a longer run are those of a shorter one.

    Raises:
        UsageError: fewer than one shot, an invalid seed, or ions that do not fit the atoms of the
            molecule.
        InputFileError: the channel names no shipped molecule, and no structure is given.

    Example:
        >>> from molexa_core.base.settings import load_channel
        >>> run = mock(load_channel("nitrogen"), 100, setup=default_setup(), seed=1)
        >>> run.hits.n_shots
        100
    """
    target = _target(channel, structure, setup, progress)
    blocks = list(_blocks(target, setup, seed, shots, progress))
    counts: Counter[str] = Counter()
    for block in blocks:
        counts.update(block.counts)
    return MockRun(
        hits=Hits.concatenate([block.hits for block in blocks]),
        truth=VirtualTruth.concatenate([block.truth for block in blocks]),
        counts=dict(counts),
        channel=channel,
        setup=telling(setup),
    )


def mock_file(
    channel: str,
    shots: int,
    out: Path | str,
    *,
    setup: Path | str | None = None,
    geometry: Path | str | None = None,
    seed: int = 0,
    layout: str = "root",
    truth: Path | str | None = None,
    virtual: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> dict[str, int]:
    """Simulate a virtual run and write it block by block.

    The run contains its setup, channel and seed, so that `molexa reduce` needs no options. Where
    the setup does not say what the explosion is, the run says it as it was simulated.

    Args:
        channel: name or file of the channel.
        shots: number of shots.
        out: file to write.
        setup: setup file; that of `molexa.yaml`, or the shipped template, if not given.
        geometry: XYZ file of the molecule, or name of a shipped one.
        seed: seed of every random draw.
        layout: format of the file, one of `io.formats.writer_names()`; those of `edge_writers()`
            hold the signals of the anode.
        truth: HDF5 file for the truth.
        virtual: values that replace those in the block `virtual` of the setup.
        progress: display of the progress.

    Returns:
        The counts, as in `MockRun`.

    Raises:
        UsageError, InputFileError, SettingsError: as in `mock`; or an input file is not valid.
        OutputError: a result cannot be written.
    """
    require_writer(layout)
    channel_path, setup_path = find("channels", channel, ".yaml"), find_setup(setup)
    known, apparatus = load_channel(channel_path), load_setup(setup_path)
    structure, more = (None, []) if geometry is None else _structure(geometry, progress)
    return write_mock(
        known,
        shots,
        out,
        setup=with_virtual(apparatus, virtual or {}),
        structure=structure,
        seed=seed,
        layout=layout,
        truth=truth,
        inputs=[channel_path, setup_path, *more],
        also_read=settings_inputs(setup=setup_path),
        progress=progress,
    )


def write_mock(
    channel: Channel,
    shots: int,
    out: Path | str,
    *,
    setup: Setup,
    structure: Molecule | Geometry | None = None,
    seed: int = 0,
    layout: str = "root",
    truth: Path | str | None = None,
    inputs: Sequence[Path] = (),
    also_read: Sequence[Path] = (),
    progress: Progress = SILENT,
) -> dict[str, int]:
    """Simulate a virtual run as `mock` does, and write it block by block.

    Args:
        channel: the ions that the molecule breaks into.
        shots: number of shots.
        out: file to write.
        setup: apparatus, and its imperfections in the block `virtual`.
        structure: as for `mock`.
        seed: of all random draws.
        layout: as for `mock_file`.
        truth: file for the true molecules.
        inputs: files that channel, setup and structure were read from, for the provenance.
        also_read: files beside them that must not be overwritten.
        progress: display of the progress.

    Returns:
        The counts of `MockRun`.

    Raises:
        UsageError, InputFileError: as in `mock`.
        OutputError: a result cannot be written.
    """
    require_writer(layout)
    apparatus, known = telling(setup), channel
    target = _target(known, structure, apparatus, progress)
    name = known.molecule if structure is None else getattr(structure, "name", None)
    settings = {
        "channel": known.model_dump(mode="json"),
        "setup": apparatus.model_dump(mode="json"),
        "molecule": name,
        "events": shots,
        "layout": layout,
    }
    require_outputs((out, run_kind(layout)), (truth, FileKind.TRUTH), inputs=[*inputs, *also_read])
    record = Provenance.of(inputs=inputs, settings=settings, seed=seed)
    counts: Counter[str] = Counter()
    blocks = _blocks(target, apparatus, seed, shots, progress)
    with ExitStack() as stack:
        writer = None
        if truth is not None:
            rest = equilibrium_of(target)
            writer = stack.enter_context(truth_writer(truth, target.ions, rest, record))

        def hits() -> Iterator[Hits]:
            for block in blocks:
                counts.update(block.counts)
                if writer is not None:
                    writer.append(block.truth)
                yield block.hits

        meta = _metadata(target, record)
        if layout in (edges := edge_writers()):
            signals = edges_of(hits(), apparatus, seed=seed)
            edges[layout].write(Path(out), signals, edge_places(apparatus), meta)
        else:
            places = Places(slots=apparatus.detector.slots)
            hit_writers()[layout].write(Path(out), hits(), places, meta)
    return dict(counts)


def default_setup() -> Setup:
    """The setup of the shipped template."""
    return load_setup(find_setup(None))


def with_virtual(setup: Setup, changes: Mapping[str, Any]) -> Setup:
    """A setup with other values in its block `virtual`; nested blocks are merged.

    Raises:
        SettingsError: an unknown key or an impossible value.
        UsageError: a pulse is given for a model without pulse.
    """
    explosion = changes.get("explosion", setup.virtual.explosion)
    if explosion != "mcmd" and ("pulse" in changes or "model" in changes):
        raise UsageError(
            f"the explosion is {explosion}, which has no pulse",
            do="Choose the model mcmd, or leave the options of the pulse out.",
        )
    values = setup.model_dump()
    for name, value in changes.items():
        before = values["virtual"].get(name)
        merge = isinstance(value, Mapping) and isinstance(before, dict)
        values["virtual"][name] = {**before, **value} if merge else value
    return parse_settings(Setup, values, where="virtual experiment")


def telling(setup: Setup) -> Setup:
    """The setup with its `explosion`: as it says, or else as the virtual experiment explodes."""
    if setup.explosion is not None:
        return setup
    virtual = setup.virtual
    told = simulated(
        virtual.explosion,
        rises=ChargeBuildUp(tau_fs=virtual.tau_fs),
        pulse=virtual.pulse,
        options=virtual.model,
    )
    return setup.model_copy(update={EXPLOSION: Explosion.of(told)})


def find_setup(setup: Path | str | None) -> Path:
    """The setup file: the one named, that of `molexa.yaml`, the shipped template.

    Raises:
        InputFileError: the file does not exist.
        SettingsError: `molexa.yaml` is not valid.
    """
    if setup is None:
        setup = load_project().setup
    return find("templates", DEFAULT_SETUP, ".yaml") if setup is None else require_file(setup)


def _structure(geometry: Path | str, progress: Progress) -> tuple[Molecule, list[Path]]:
    path = Path(geometry)
    if not path.exists() and path.suffix.lower() != ".xyz" and len(path.parts) == 1:
        return molecule(str(geometry)), []
    geometries = read_xyz(path, progress)
    if len(geometries) > 1:
        progress.say(f"{path} has {len(geometries)} structures; the first is used")
    with about_file(path):
        require_apart(geometries[0].symbols, geometries[0].positions, where=None)
    return Molecule(path.name, geometries[0]), [path]


def _target(
    channel: Channel, structure: Molecule | Geometry | None, setup: Setup, progress: Progress
) -> Target:
    if structure is None:
        if channel.molecule is None:
            raise InputFileError(
                "the channel names no molecule",
                where=f"channel {channel.name}",
                do="Give its geometry as an XYZ file.",
            )
        structure = molecule(channel.molecule)
    if isinstance(structure, Geometry):
        structure = Molecule(structure.comment or "the geometry", structure)
    target = target_of(channel, structure)
    virtual = setup.virtual
    if virtual.explosion == "mcmd":
        # The atomic tables stay in memory for all blocks; their first computation takes a while.
        symbols = tuple(ion.element.symbol for ion in target.ions)
        molecule_tables(symbols, virtual.pulse.photon_ev, progress)
    if virtual.zero_point == "modes" and target.modes is None:
        progress.say(
            f"no normal modes are known for {structure.name}: its zero-point spread is a Gaussian "
            f"of {virtual.zero_point_sigma_bohr:g} bohr * sqrt(1 u / mass) per axis and atom"
        )
    return target


def _blocks(
    target: Target, setup: Setup, seed: int, shots: int, progress: Progress
) -> Iterator[Block]:
    if shots < 1:
        raise UsageError(f"{shots} shots", do="Ask for 1 or more.")
    if not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"seed {seed}", do=f"Give a number from 0 to {LARGEST_SEED}.")
    return _reported(run_blocks(target, setup, seed, shots), shots, progress)


def _reported(blocks: Iterator[Block], shots: int, progress: Progress) -> Iterator[Block]:
    with progress.task("virtual experiment", shots, "shots") as task:
        for block in blocks:
            yield block
            task.advance(block.hits.n_shots)


def _metadata(target: Target, record: Provenance) -> dict[str, Any]:
    """The metadata of the run, with which it can be reduced without options."""
    equilibrium = equilibrium_of(target)
    return {
        "setup": record.settings["setup"],
        "channel": record.settings["channel"],
        "provenance": record.own_record(),
        "virtual_truth": {
            "molecule": record.settings["molecule"],
            "symbols": list(equilibrium.symbols),
            "positions_bohr": equilibrium.positions.tolist(),
            "seed": record.seed,
        },
    }
