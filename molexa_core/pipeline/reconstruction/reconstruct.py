"""Reconstruct: the structure before the explosion from mean momenta of the ions.

The network draws several structures. Where the explosion is the one on which the network learned,
they are refined until their explosion gives the measured momenta (closure); a search from further
starts finds structures that the network did not draw. If several fit, the answer is a chemically
plausible one, and of these the one that most samples led to; the others are listed as alternatives.
The error bars are those of the network, which are calibrated for this explosion alone.

For every other explosion these structures are starts, and the result is the posterior of geometry
and explosion (`pipeline.inversion`): all geometries that explain the momenta, with everything that
is not known about the explosion. So are several channels of one molecule, which share both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from molexa_core.base.errors import UsageError, about_file
from molexa_core.base.fields import EXPLOSION, FRAME, ION, WARNINGS
from molexa_core.base.options.reconstruct_options import (
    SAMPLES,
    USUAL,
    ReconstructOptions,
)
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Explosion, parse_settings
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.io.results.channel_csv import read_channel_csv, warnings_of
from molexa_core.io.results.geometry_json import ReconstructionRecord, write_geometry_json
from molexa_core.io.xyz import write_xyz
from molexa_core.network.network import Network
from molexa_core.network.weights import ModelCard, load_network
from molexa_core.pipeline.chain.channel_limits import channel_of_record, require_complete
from molexa_core.pipeline.chain.stale import require_fresh, say_unguarded
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.explosions.assumed import (
    Assumed,
    Changes,
    assumed_explosion,
    with_changes,
)
from molexa_core.pipeline.given.given_structure import find_geometry
from molexa_core.pipeline.inversion.geometry_belief import believed
from molexa_core.pipeline.output_guard import (
    beside_output,
    discards,
    require_outputs,
    settings_inputs,
)
from molexa_core.pipeline.reconstruction.by_network import by_network
from molexa_core.pipeline.reconstruction.by_posterior import by_posterior
from molexa_core.pipeline.reconstruction.by_told import by_told
from molexa_core.pipeline.reconstruction.error_bars import not_a_molecule, require_possible
from molexa_core.pipeline.reconstruction.learned import not_as_learned, weights_files, weights_for
from molexa_core.pipeline.reconstruction.momenta_input import (
    read_columns,
    require_atoms,
    without_sum,
)
from molexa_core.pipeline.reconstruction.task import FILE, Task, name_of

Momenta = pd.DataFrame | Path | str
"""Mean momenta: columns `ion`, `px`, `py`, `pz` in a.u. and, if known, their errors, in any frame
(`pipeline.chain.centroid.centroid`); or a `channel.csv`."""
Told = Explosion | Assumed | Path | str
"""What is known about an explosion, or a setup file, or one with a block `explosion` alone."""


def reconstruct(
    momenta: Momenta | Sequence[Momenta],
    *,
    options: ReconstructOptions = USUAL,
    network: tuple[Network, ModelCard] | None = None,
    refined: bool | None = None,
    explosion: Told | None = None,
    changes: Changes | None = None,
    known: Geometry | Path | str | None = None,
    out: Path | str | None = None,
    progress: Progress = SILENT,
) -> ReconstructionRecord:
    """Reconstruct the structure from mean momenta.

    Args:
        momenta: a table or a file; or several channels of one molecule, the first of which gives
            frame and order.
        options: how structures are looked for; if they name no weights, those for the explosion
            are taken (`learned.weights_for`).
        network: a loaded network with its card, in place of the one of the options.
        refined: whether samples are refined; if not, the answer is a sample of the network, and
            there is no search; weights that are told the experiment then state the error bars of
            their samples, which contain averaging over vibrating molecules (`by_told`). None:
            refined, unless the explosion is the one on which the weights learned and that is not
            the classical model (`weights.forward_of`).
        explosion: what is known about the explosion; if not given, of a file what the setup of
            `molexa.yaml` or `molexa reduce` says, of a table its `attrs["explosion"]`, and else
            nothing.
        changes: what the call itself says about the explosion, in place of that.
        known: the true structure, its XYZ file, or the name of a shipped molecule; the errors
            relative to it are recorded.
        out: XYZ file to write; a JSON file of the same name is written beside it.
        progress: display of the progress.

    Returns:
        Positions in bohr in the frame of the momenta, centred, atoms in the order of the table;
        uncertainties (one standard deviation per coordinate: the network's expected error and
        the propagated errors of the momenta, added in quadrature; or those of the posterior), or
        the reason why there are none; samples; closure; the explosion that was assumed.

    Raises:
        InputFileError: a file is missing or has another format.
        ColumnError: a column is missing.
        UnknownIonError: an ion that the network does not know.
        UsageError: too few or too many ions, all momenta are zero, the known structure has other
            atoms, or the name of the output does not end in `.xyz`.
        WeightsError: damaged weights.
        OutputError: the result cannot be written.
    """
    several: list[Any] = list(momenta) if isinstance(momenta, list | tuple) else [momenta]
    files = [one for one in several if isinstance(one, Path | str)]
    truth = known if isinstance(known, Path | str) else None
    setup = explosion if isinstance(explosion, Path | str) else None
    target = None if out is None else Path(out)
    if target is not None and target.suffix != ".xyz" and not discards(target):
        raise UsageError(f"{target} does not end in .xyz", do="Name an XYZ file with `out=`.")
    beside = None if target is None else beside_output(target, ".json")
    named = [*settings_inputs(setup=setup), *weights_files(options.weights)]
    named += options.prior_files
    require_outputs(
        (target, FileKind.GEOMETRY),
        (beside, FileKind.RECONSTRUCTION),
        inputs=[*files, truth, *named],
    )
    belief = believed(options, progress=progress)
    tables, before = _read_all(several, progress)
    first = several[0] if isinstance(several[0], Path | str) else None
    assumed = _assumed(explosion, changes, tables[0], before, first)
    if isinstance(known, Path | str):
        known = find_geometry(known, progress)[0]
        require_atoms(tables[0], known, truth)
    loaded = network or load_network(
        options.weights or weights_for(assumed.explosion, len(tables[0])),
        take_device(options.device),
    )
    samples = options.samples or SAMPLES
    task = Task(*loaded, assumed, samples, options.search, belief, options.seed, progress)
    with nullcontext() if first is None else about_file(first):
        record = _reconstructed(task, tables, refined)
    if known is not None:
        record = replace(record, errors=_errors_against(record, known))
    if files:
        record = replace(record, input={**record.input, "file": str(files[0])})
    if len(files) > 1:
        record = replace(record, input={**record.input, "files": [str(one) for one in files]})
    if target is None or beside is None:
        return record
    settings = {
        **options.plain(weights=record.model["name"], samples=samples),
        "refined": record.closure["refined"],
        EXPLOSION: assumed.explosion.plain(),
        "explosion_source": assumed.source,
    }
    inputs = [*files, *([] if truth is None else [truth]), *options.prior_files]
    made = Provenance.of(inputs=inputs, settings=settings, seed=options.seed, after=before)
    write_geometry_json(beside, record, made)
    write_xyz(target, [record.geometry()], made)
    return record


def _reconstructed(
    task: Task, tables: Sequence[pd.DataFrame], refined: bool | None
) -> ReconstructionRecord:
    """The structure by the network, or by the posterior of geometry and explosion."""
    table, *others = tables
    told = task.assumed.explosion.told
    calibrated = task.assumed.explosion.calibrated is not None
    unlike = "the explosion is calibrated" if calibrated else not_as_learned(task.card, told)
    for remark in task.assumed.remarks:
        task.progress.say(remark)
    impossible = [_impossible(one) for one in tables]
    if others and any(impossible):
        at = next(number for number, why in enumerate(impossible) if why)
        name = name_of(tables[at], at)
        raise UsageError(f"{impossible[at]}", where=name, do="Leave this channel out.")
    if refined is False and others:
        raise UsageError(
            "a sample of the network is of one channel alone",
            setting="refined",
            do="Leave it out, or name one channel.",
        )
    if refined is False and task.network.settings.told and not impossible[0]:
        return by_told(task, table)
    if refined is False or impossible[0] or (unlike is None and not others):
        return by_network(task, table, refined=refined, unlike=unlike)
    return by_posterior(task, list(tables))


def _impossible(table: pd.DataFrame) -> str | None:
    """The reason why the momenta of a channel cannot be those of a molecule."""
    ions, momenta, errors = read_columns(table)
    if not all(ion.is_atomic for ion in ions):
        return None  # told when the ions are passed to the network
    require_possible(ions, momenta)
    found = not_a_molecule(ions, momenta, without_sum(ions, momenta, errors)[0])
    return None if found is None else found.removeprefix("no error bars: ")


def _read_all(
    several: Sequence[Momenta], progress: Progress
) -> tuple[list[pd.DataFrame], Provenance | None]:
    """The tables, with the warnings of their making, and how the first of them was made.

    Raises:
        UsageError: there is none, or one is no table.
    """
    tables, records = [], []
    for one in several:
        if isinstance(one, Path | str):
            table, record = _read(one, progress)
        elif isinstance(one, pd.DataFrame):
            table, record = one, None
        else:
            raise UsageError(
                f"no mean momenta: {type(one).__name__}",
                do="Give the table of centroid, its file, or an events file.",
            )
        tables.append(table)
        records.append(record)
    if not tables:
        raise UsageError("no mean momenta", do="Give the table of centroid or its file.")
    return tables, records[0]


def _assumed(
    explosion: Told | None,
    changes: Changes | None,
    table: pd.DataFrame,
    record: Provenance | None,
    path: Path | str | None,
) -> Assumed:
    """What is known about the explosion: as told, or by the files, or by the table."""
    if isinstance(explosion, Path | str) or (explosion is None and path is not None):
        return assumed_explosion(changes=changes, setup=explosion, record=record, path=path)
    found = explosion if isinstance(explosion, Assumed) else Assumed()
    if isinstance(explosion, Explosion):
        found = Assumed(explosion, "the call")
    elif explosion is None and isinstance(block := table.attrs.get(EXPLOSION), Mapping):
        told = parse_settings(Explosion, dict(block), where="explosion of the table")
        found = Assumed(told, "the table of momenta")
    return found if changes is None else with_changes(found, changes)


def _read(path: Path | str, progress: Progress) -> tuple[pd.DataFrame, Provenance | None]:
    """The table of a channel, with the warnings of its making, and how it was made."""
    table, record = read_channel_csv(path, progress)
    require_complete(channel_of_record(record), path, ions=table[ION].tolist())
    table.attrs[WARNINGS] = [*warnings_of(table), *require_fresh(path, record)]
    table.attrs[FILE] = str(path)
    if record is not None and isinstance(frame := record.settings.get(FRAME), Mapping):
        table.attrs[FRAME] = dict(frame)
    say_unguarded(path, record, progress)
    return table, record


def _errors_against(record: ReconstructionRecord, known: Geometry) -> dict[str, Any]:
    # Superposition imports scipy's optimizers, which takes a third of a second.
    from molexa_core.pipeline.chain.score import score  # noqa: PLC0415

    return score(record.geometry(), known).to_dict()
