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
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from molexa_core.base.errors import UsageError, about_file
from molexa_core.base.fields import EXPLOSION, ION, WARNINGS
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
from molexa_core.pipeline.explosions.assumed import Assumed, Changes, assumed_explosion
from molexa_core.pipeline.named_structure import find_geometry
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

SAMPLES: Final = 16
"""Default number of structures drawn."""
SEARCH: Final = 24
"""Default number of further starts of the search for structures that fit."""


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
    explosion: Explosion | Assumed | None = None,
    others: Sequence[pd.DataFrame] = (),
    progress: Progress = SILENT,
) -> ReconstructionRecord:
    """Reconstruct the structure from mean momenta.

    Args:
        table: columns `ion`, `px`, `py`, `pz` in a.u. and, if known, their errors
            (`pipeline.chain.centroid.centroid`), in any frame.
        weights: name or path of weights, or a loaded network with its card; if not given, those
            for the explosion (`learned.weights_for`).
        samples: number of structures to draw.
        search: number of further starts, to find structures that the network does not draw.
        refined: whether samples are refined; if not, the answer is a sample of the network, and
            there is no search; weights that are told the experiment then state the error bars of
            their samples, which contain averaging over vibrating molecules (`by_told`). None:
            refined, unless the explosion is the one on which the weights learned and that is not
            the classical model (`weights.forward_of`).
        chemistry: whether a chemically plausible structure is preferred if several fit the
            momenta; switch it off for dissociating molecules.
        seed: of the samples and of the search.
        device: `auto`, `cpu` or `cuda`.
        known: the true structure; the errors relative to it are recorded.
        explosion: what is known about the explosion; `attrs["explosion"]` of the table if not
            given, and else nothing.
        others: further channels of the same molecule, as `table`.
        progress: display of the progress.

    Returns:
        Positions in bohr in the frame of the momenta, centred, atoms in the order of the table;
        uncertainties (one standard deviation per coordinate: the network's expected error and
        the propagated errors of the momenta, added in quadrature; or those of the posterior), or
        the reason why there are none; samples; closure; the explosion that was assumed.

    Raises:
        ColumnError: a column is missing.
        UnknownIonError: an ion that the network does not know.
        UsageError: too few or too many ions, all momenta are zero, or the known structure has
            other atoms.
        WeightsError: damaged weights.
    """
    if samples < 1:
        raise UsageError(f"{samples} samples", do="Ask for at least one.")
    assumed = _assumed(explosion, table)
    network, card = _loaded(weights, assumed, len(table), take_device(device))
    told = assumed.explosion.told
    calibrated = assumed.explosion.calibrated is not None
    unlike = "the explosion is calibrated" if calibrated else not_as_learned(card, told)
    task = Task(network, card, assumed, samples, search, chemistry, seed, progress)
    for remark in assumed.remarks:
        progress.say(remark)
    impossible = [_impossible(one) for one in (table, *others)]
    if others and any(impossible):
        at = next(number for number, why in enumerate(impossible) if why)
        name = name_of((table, *others)[at], at)
        raise UsageError(f"{impossible[at]}", where=name, do="Leave this channel out.")
    if refined is False and others:
        raise UsageError(
            "a sample of the network is of one channel alone",
            setting="refined",
            do="Leave it out, or name one channel.",
        )
    if refined is False and network.settings.told and not impossible[0]:
        record = by_told(task, table)
    elif refined is False or impossible[0] or (unlike is None and not others):
        record = by_network(task, table, refined=refined, unlike=unlike)
    else:
        record = by_posterior(task, [table, *others])
    return record if known is None else replace(record, errors=_errors_against(record, known))


def _impossible(table: pd.DataFrame) -> str | None:
    """The reason why the momenta of a channel cannot be those of a molecule."""
    ions, momenta, errors = read_columns(table)
    if not all(ion.is_atomic for ion in ions):
        return None  # told when the ions are passed to the network
    require_possible(ions, momenta)
    found = not_a_molecule(ions, momenta, without_sum(ions, momenta, errors)[0])
    return None if found is None else found.removeprefix("no error bars: ")


def _assumed(explosion: Explosion | Assumed | None, table: pd.DataFrame) -> Assumed:
    if isinstance(explosion, Assumed):
        return explosion
    if explosion is not None:
        return Assumed(explosion, "the call")
    block = table.attrs.get(EXPLOSION)
    if isinstance(block, Mapping):
        found = parse_settings(Explosion, dict(block), where="explosion of the table")
        return Assumed(found, "the table of momenta")
    return Assumed()


def _loaded(
    weights: str | tuple[Network, ModelCard] | None, assumed: Assumed, atoms: int, device: str
) -> tuple[Network, ModelCard]:
    if isinstance(weights, tuple):
        return weights
    return load_network(weights or weights_for(assumed.explosion, atoms), device)


def reconstruct_file(
    path: Path | str | Sequence[Path | str],
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
    setup: Path | str | None = None,
    changes: Changes | None = None,
    progress: Progress = SILENT,
) -> ReconstructionRecord:
    """Reconstruct a `channel.csv`; writes an XYZ file and a JSON file of the same name.

    Args:
        path: the channel; or several of one molecule, the first of which gives frame and order.
        out: the XYZ file.
        weights: see `reconstruct`.
        samples: see `reconstruct`.
        search: see `reconstruct`.
        refined: see `reconstruct`.
        chemistry: see `reconstruct`.
        seed: see `reconstruct`.
        device: see `reconstruct`.
        truth: XYZ file of the known structure.
        setup: setup file, or one with a block `explosion` alone, that says what the explosion was;
            if not given that of `molexa.yaml`, or what `molexa reduce` recorded.
        changes: what the call itself says about the explosion.
        progress: display of the progress.

    Raises:
        InputFileError: a file is missing or has another format.
        OutputError: the result cannot be written.
        UsageError: as in `reconstruct`, or the name of the output does not end in `.xyz`.
    """
    paths = [path] if isinstance(path, Path | str) else list(path)
    target = Path(out)
    if target.suffix != ".xyz" and not discards(target):
        raise UsageError(f"{target} does not end in .xyz", do="Name an XYZ file with `out=`.")
    beside = beside_output(target, ".json")
    named = [*settings_inputs(setup=setup), *weights_files(weights)]
    require_outputs(
        (target, FileKind.GEOMETRY),
        (beside, FileKind.RECONSTRUCTION),
        inputs=[*paths, truth, *named],
    )
    read = [_read(one, progress) for one in paths]
    tables, before = [table for table, _ in read], read[0][1]
    assumed = assumed_explosion(changes=changes, setup=setup, record=before, path=paths[0])
    known = None if truth is None else _first_structure(truth, progress)
    if known is not None and truth is not None:
        require_atoms(tables[0], known, truth)
    loaded = _loaded(weights, assumed, len(tables[0]), take_device(device))
    if samples < 1:
        raise UsageError(f"{samples} samples", do="Ask for at least one.")
    with about_file(paths[0]):
        record = reconstruct(
            tables[0],
            weights=loaded,
            samples=samples,
            search=search,
            refined=refined,
            chemistry=chemistry,
            seed=seed,
            known=known,
            explosion=assumed,
            others=tables[1:],
            progress=progress,
        )
    record = replace(record, input={**record.input, "file": str(paths[0])})
    if len(paths) > 1:
        record = replace(record, input={**record.input, "files": [str(one) for one in paths]})
    inputs = [*paths] if truth is None else [*paths, truth]
    settings = {
        "weights": record.model["name"],
        "samples": samples,
        "search": search,
        "refined": record.closure["refined"],
        "chemistry": chemistry,
        "device": device,
        EXPLOSION: assumed.explosion.plain(),
        "explosion_source": assumed.source,
    }
    made = Provenance.of(inputs=inputs, settings=settings, seed=seed, after=before)
    write_geometry_json(beside, record, made)
    write_xyz(target, [record.geometry()], made)
    return record


def _read(path: Path | str, progress: Progress) -> tuple[pd.DataFrame, Provenance | None]:
    """The table of a channel, with the warnings of its making, and how it was made."""
    table, record = read_channel_csv(path, progress)
    require_complete(channel_of_record(record), path, ions=table[ION].tolist())
    table.attrs[WARNINGS] = [*warnings_of(table), *require_fresh(path, record)]
    table.attrs[FILE] = str(path)
    say_unguarded(path, record, progress)
    return table, record


def _errors_against(record: ReconstructionRecord, known: Geometry) -> dict[str, Any]:
    # Superposition imports scipy's optimizers, which takes a third of a second.
    from molexa_core.pipeline.chain.score import score  # noqa: PLC0415

    return score(record.geometry(), known).to_dict()


def _first_structure(path: Path | str, progress: Progress) -> Geometry:
    return find_geometry(path, progress)[0]
