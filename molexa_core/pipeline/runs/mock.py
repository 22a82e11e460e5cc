"""Mock: simulate a raw run of a channel with the virtual experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext
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
    load_project,
    load_setup,
    parse_settings,
)
from molexa_core.base.storage.files import require_file
from molexa_core.base.storage.outputs import FileKind, run_kind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.storage.resources import find
from molexa_core.base.tables import Hits
from molexa_core.base.truth import VirtualTruth
from molexa_core.io.formats import edge_writers, hit_writers, require_writer
from molexa_core.io.results.truth_file import truth_writer
from molexa_core.io.run_format import Places
from molexa_core.physics.coulomb.batches import require_apart
from molexa_core.physics.molecules.library import Molecule, molecule
from molexa_core.physics.virtual.experiment import (
    Block,
    equilibrium_of,
    run_blocks,
    target_of,
)
from molexa_core.physics.virtual.sources import Target, molecule_tables
from molexa_core.pipeline.given.given_channel import channel as named_channel
from molexa_core.pipeline.given.given_structure import Structure, structure_of
from molexa_core.pipeline.output_guard import require_outputs, settings_inputs
from molexa_core.pipeline.runs.mock_edges import edge_places, edges_of
from molexa_core.pipeline.runs.mock_run import MockRun

DEFAULT_SETUP: Final = "setup"
"""Name of the template that is used if no setup is given."""
_OWN_COLUMNS: Final = {
    name: Setup.model_fields[name].get_default(call_default_factory=True)
    for name in ("columns", "edge_columns", "facility")
}
"""What a setup says of the files of another program; a virtual run is stored in its own way."""
LARGEST_SEED: Final = 2**63 - 1


def mock(
    channel: Channel | Path | str,
    shots: int,
    *,
    setup: Setup | Path | str | None = None,
    structure: Structure | None = None,
    virtual: Mapping[str, Any] | None = None,
    seed: int = 0,
    layout: str = "root",
    truth: Path | str | None = None,
    out: Path | str | None = None,
    progress: Progress = SILENT,
) -> MockRun:
    """Simulate a virtual run, in memory or block by block into a file.

    A file contains its setup, channel and seed, so that `molexa reduce` needs no options. Where the
    setup does not say what the explosion is, the run says it as it was simulated.

    Args:
        channel: the ions that the molecule breaks into; a channel, its name or file, or else as for
            `given_channel.channel`.
        shots: number of shots.
        setup: apparatus, and its imperfections in the block `virtual`, or its file; that of
            `molexa.yaml`, or the shipped template, if not given.
        structure: the molecule, an XYZ file, or the name of a shipped one; that of the channel if
            not given. A bare geometry has no normal modes: its zero-point spread is the Gaussian of
            the setup.
        virtual: values that replace those in the block `virtual` of the setup.
        seed: of all random draws.
        layout: format of the file, one of `io.formats.writer_names()`; those of `edge_writers()`
            hold the signals of the anode.
        truth: HDF5 file for the true molecules, beside `out`.
        out: file to write; the run is kept in memory if not given.
        progress: receives notices on fallbacks, and the progress.

    Returns:
        Hits, truth and counts; of a file they are read when they are asked for. The first shots of
        a longer run are those of a shorter one.

    Raises:
        UsageError: fewer than one shot, an invalid seed, ions that do not fit the atoms of the
            molecule, or a file of the truth without a run.
        InputFileError: the channel names no shipped molecule, and no structure is given; or a file
            is not valid.
        SettingsError: channel, setup or `virtual` are not valid.
        OutputError: a result cannot be written.

    Example:
        >>> run = mock("nitrogen", 100, setup=default_setup(), seed=1)
        >>> run.hits.n_shots
        100
    """
    require_writer(layout)
    if truth is not None and out is None:
        raise UsageError("a file of the truth without a run", setting="out", do="Name its file.")
    apparatus, files = (setup, []) if isinstance(setup, Setup) else _setup(setup)
    apparatus = with_virtual(apparatus, virtual or {}).model_copy(update=_OWN_COLUMNS)
    inputs = [*_channel_files(channel), *files]
    known = named_channel(channel)
    molecule_of, more = (None, []) if structure is None else _structure(structure, progress)
    target = _target(known, molecule_of, apparatus, progress)
    if out is None:
        blocks = list(_blocks(target, apparatus, seed, shots, progress))
        counts: Counter[str] = Counter()
        for block in blocks:
            counts.update(block.counts)
        hits = Hits.concatenate([block.hits for block in blocks])
        origin = VirtualTruth.concatenate([block.truth for block in blocks])
        return MockRun(dict(counts), known, telling(apparatus), held=(hits, origin))
    inputs = [path for path in (*inputs, *more) if path.is_file()]
    require_outputs(
        (out, run_kind(layout)),
        (truth, FileKind.TRUTH),
        inputs=[*inputs, *(settings_inputs(setup=files[0]) if files else ())],
    )
    named = known.molecule if molecule_of is None else molecule_of.name
    apparatus = telling(apparatus)
    settings = {
        "channel": known.model_dump(mode="json"),
        "setup": apparatus.model_dump(mode="json"),
        "molecule": named,
        "events": shots,
        "layout": layout,
    }
    record = Provenance.of(inputs=inputs, settings=settings, seed=seed)
    where = (Path(out), None if truth is None else Path(truth))
    written = _write(target, apparatus, shots, record, layout, where, progress)
    return MockRun(written, known, apparatus, *where)


def _write(
    target: Target,
    apparatus: Setup,
    shots: int,
    record: Provenance,
    layout: str,
    where: tuple[Path, Path | None],
    progress: Progress,
) -> dict[str, int]:
    """Write a virtual run, and its true molecules if a second file is named; the counts."""
    seed = record.seed or 0
    counts: Counter[str] = Counter()
    blocks = _blocks(target, apparatus, seed, shots, progress)
    with ExitStack() as stack:
        writer = None
        if where[1] is not None:
            rest = equilibrium_of(target)
            writer = stack.enter_context(truth_writer(where[1], target.ions, rest, record))

        def hits() -> Iterator[Hits]:
            for block in blocks:
                counts.update(block.counts)
                if writer is not None:
                    writer.append(block.truth)
                yield block.hits

        meta = _metadata(target, record)
        if layout in (edges := edge_writers()):
            signals = edges_of(hits(), apparatus, seed=seed)
            edges[layout].write(where[0], signals, edge_places(apparatus), meta)
        else:
            places = Places(slots=apparatus.detector.slots)
            hit_writers()[layout].write(where[0], hits(), places, meta)
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


def _setup(setup: Path | str | None) -> tuple[Setup, list[Path]]:
    """The apparatus and its file."""
    path = find_setup(setup)
    return load_setup(path), [path]


def _channel_files(channel: Channel | Path | str) -> list[Path]:
    """The file of a channel."""
    return [] if isinstance(channel, Channel) else settings_inputs(channel=str(channel))


def _structure(given: Structure, progress: Progress) -> tuple[Molecule, list[Path]]:
    """What explodes, with its vibrations where they are known, and the files that were read."""
    if isinstance(given, Molecule):
        return given, []
    if isinstance(given, Path | str):
        path = Path(given)
        if not path.exists() and path.suffix.lower() != ".xyz" and len(path.parts) == 1:
            return molecule(str(given)), []
    geometry, files = structure_of(given, progress)
    with about_file(files[0]) if files else nullcontext():
        require_apart(geometry.symbols, geometry.positions, where=None)
    name = files[0].name if files else geometry.comment or "the geometry"
    return Molecule(name, geometry), list(files)


def _target(
    channel: Channel, structure: Molecule | None, setup: Setup, progress: Progress
) -> Target:
    if structure is None:
        if channel.molecule is None:
            raise InputFileError(
                "the channel names no molecule",
                where=f"channel {channel.name}",
                do="Give its geometry: an XYZ file or a shipped molecule.",
            )
        structure = molecule(channel.molecule)
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
