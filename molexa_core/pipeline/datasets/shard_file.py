"""Layout of a file of a data set of simulated explosions, a shard or a pack.

    blocks/{name, digest}                     molecules/{name, atoms, number, held_out}
    geometries/{block, molecule, variation, kind, trajectories, combinations, neutral, photons,
                lost, position}
    entries/{geometry, count, split, charge, momentum, error}

`number`, `position`, `charge`, `momentum` and `error` are flat over atoms. Mean momenta are rounded
to a sixteenth of their standard error or finer, so that they compress better; errors have half
precision. Files of early versions have no column `lost`, which is then read as -1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base import fields
from molexa_core.base.errors import InputFileError
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import offsets_of
from molexa_core.io.hdf5.file import (
    attribute,
    member,
    new_hdf5,
    open_hdf5,
    read_array,
    read_strings,
    require_format,
    write_provenance,
    write_strings,
)
from molexa_core.pipeline.datasets.entries import EntryBlock, GeometryResult

MOST_ATOMS: Final = 64
MOST_CHARGE: Final = 118
_AGAIN: Final = "The file is damaged; delete it and build the data set again."
_MOST_BLOCKS: Final = 1_000_000
_SMALL: Final = 4096
_PIECE: Final = 65_536
"""Number of rows of a column that are compressed together; 0.8 MB of momenta."""
STRINGS: Final = (
    f"{fields.BLOCKS}/{fields.NAME}",
    f"{fields.BLOCKS}/{fields.DIGEST}",
    f"{fields.MOLECULES}/{fields.NAME}",
)
_G, _E, _M = fields.GEOMETRIES, fields.ENTRIES, fields.MOLECULES
COLUMNS: Final[dict[str, tuple[str, int, str]]] = {
    f"{_M}/{fields.ATOMS}": ("i4", 1, "1"),
    f"{_M}/{fields.ATOMIC_NUMBER}": ("u1", 1, "1"),
    f"{_M}/{fields.HELD_OUT}": ("u1", 1, "1"),
    f"{_G}/{fields.BLOCK}": ("i4", 1, "1"),
    f"{_G}/{fields.MOLECULE}": ("i4", 1, "1"),
    f"{_G}/{fields.VARIATION}": ("i4", 1, "1"),
    f"{_G}/{fields.VARIATION_KIND}": ("u1", 1, "1"),
    f"{_G}/{fields.DISPLACED}": ("u1", 1, "1"),
    f"{_G}/{fields.TRAJECTORIES}": ("i8", 1, "1"),
    f"{_G}/{fields.COMBINATIONS}": ("i4", 1, "1"),
    f"{_G}/{fields.NEUTRAL}": ("i8", 1, "1"),
    f"{_G}/{fields.PHOTONS}": ("f4", 1, "1"),
    f"{_G}/{fields.LOST}": ("i8", 1, "1"),
    f"{_G}/{fields.POSITION}": ("f4", 2, "bohr"),
    f"{_E}/{fields.GEOMETRY}": ("i4", 1, "1"),
    f"{_E}/{fields.COUNT}": ("i4", 1, "1"),
    f"{_E}/{fields.SPLIT}": ("u1", 1, "1"),
    f"{_E}/{fields.CHARGE}": ("i1", 1, "1"),
    f"{_E}/{fields.EVENT_MOMENTUM}": ("f4", 2, "a.u."),
    f"{_E}/{fields.ERROR}": ("f2", 2, "a.u."),
}
"""Type, number of axes and unit of each column."""
_LATER: Final = f"{_G}/{fields.LOST}"
"""A column that is missing in older files."""
_LEAST: Final[dict[str, float | None]] = {
    f"{_M}/{fields.ATOMIC_NUMBER}": 1,
    f"{_G}/{fields.POSITION}": None,
    f"{_G}/{fields.LOST}": fields.NOT_COUNTED,
    f"{_E}/{fields.COUNT}": 1,
    f"{_E}/{fields.EVENT_MOMENTUM}": None,
}
"""Smallest value of a column; 0 for columns not listed."""
_MOST: Final = {
    f"{_M}/{fields.ATOMIC_NUMBER}": MOST_CHARGE,
    f"{_M}/{fields.HELD_OUT}": 1,
    f"{_E}/{fields.CHARGE}": MOST_CHARGE,
}
"""Largest value of a column, if it is limited."""


@dataclass(frozen=True)
class Content:
    """The contents of one file: strings and columns by path, checked for consistency.

    Attributes:
        path: path of the file.
        recipe: digest of its recipe.
        strings: lists of strings by path, see `STRINGS`.
        columns: arrays by path, see `COLUMNS`.
    """

    path: Path
    recipe: str
    strings: Mapping[str, list[str]]
    columns: Mapping[str, NDArray[Any]]

    @property
    def geometry_atoms(self) -> NDArray[np.int64]:
        """(geometries) number of atoms."""
        atoms = self.columns[f"{_M}/{fields.ATOMS}"].astype(np.int64)
        found: NDArray[np.int64] = atoms[self.columns[f"{_G}/{fields.MOLECULE}"]]
        return found

    @property
    def entry_atoms(self) -> NDArray[np.int64]:
        """(entries) number of atoms."""
        found: NDArray[np.int64] = self.geometry_atoms[self.columns[f"{_E}/{fields.GEOMETRY}"]]
        return found


def write_blocks(
    path: Path | str, blocks: Sequence[EntryBlock], recipe: str, provenance: Provenance
) -> None:
    """Write blocks into one file; the file appears only when it is complete.

    Args:
        path: the file.
        blocks: at least one; blocks of one molecule must agree on its atoms.
        recipe: digest of their recipe.
        provenance: provenance of the blocks.

    Raises:
        OutputError: the file cannot be written there.
    """
    strings, columns = _flattened(blocks)
    with new_hdf5(path) as file:
        meta = write_provenance(file, provenance, kind=fields.DATASET_KIND)
        meta.attrs[fields.RECIPE_DIGEST] = recipe
        for name, texts in strings.items():
            write_strings(file, name, texts)
        for name, (kind, _, unit) in COLUMNS.items():
            values = columns[name].astype(kind)
            # The index of a compressed column alone takes 2 kB. The pieces that h5py would choose
            # are small and cut the axes of momenta apart: a tenth larger.
            packing: dict[str, Any] = {}
            if values.nbytes > _SMALL:
                piece = (min(len(values), _PIECE), *values.shape[1:])
                packing = {"chunks": piece, "compression": "gzip", "compression_opts": 6}
                packing["shuffle"] = True
            stored = file.create_dataset(name, data=values, **packing)
            stored.attrs[fields.UNITS] = unit


def read_blocks(path: Path | str) -> tuple[list[EntryBlock], str]:
    """The blocks of a file, and the digest of their recipe.

    Raises:
        InputFileError: the file is missing, damaged, or not part of a data set.
    """
    content = read_content(path)
    c = content.columns
    atom_numbers = _pieces(c[f"{_M}/{fields.ATOMIC_NUMBER}"], c[f"{_M}/{fields.ATOMS}"])
    place = _pieces(c[f"{_G}/{fields.POSITION}"], content.geometry_atoms)
    entry_of, per_entry = c[f"{_E}/{fields.GEOMETRY}"], content.entry_atoms
    starts = offsets_of(per_entry)
    block_of, molecule_of = c[f"{_G}/{fields.BLOCK}"], c[f"{_G}/{fields.MOLECULE}"]
    found = []
    for number, name in enumerate(content.strings[STRINGS[0]]):
        rows = np.flatnonzero(block_of == number)
        if not len(rows):
            raise InputFileError(f"block {name} has no geometry", where=path, do=_AGAIN)
        items, splits = [], []
        for row in rows:
            first, last = np.searchsorted(entry_of, [row, row + 1])
            atoms = slice(starts[first], starts[last])
            shape = (int(last - first), len(place[row]))
            items.append(
                GeometryResult(
                    variation=int(c[f"{_G}/{fields.VARIATION}"][row]),
                    kind=int(c[f"{_G}/{fields.VARIATION_KIND}"][row]),
                    displaced=int(c[f"{_G}/{fields.DISPLACED}"][row]),
                    positions=place[row].astype(np.float64),
                    trajectories=int(c[f"{_G}/{fields.TRAJECTORIES}"][row]),
                    combinations=int(c[f"{_G}/{fields.COMBINATIONS}"][row]),
                    neutral=int(c[f"{_G}/{fields.NEUTRAL}"][row]),
                    photons=float(c[f"{_G}/{fields.PHOTONS}"][row]),
                    lost=int(c[f"{_G}/{fields.LOST}"][row]),
                    charges=c[f"{_E}/{fields.CHARGE}"][atoms].reshape(shape),
                    counts=c[f"{_E}/{fields.COUNT}"][first:last].astype(np.int64),
                    momenta=c[f"{_E}/{fields.EVENT_MOMENTUM}"][atoms].reshape(*shape, 3),
                    errors=c[f"{_E}/{fields.ERROR}"][atoms].astype("f4").reshape(*shape, 3),
                )
            )
            splits.append(c[f"{_E}/{fields.SPLIT}"][first:last])
        molecule = int(molecule_of[rows[0]])
        found.append(
            EntryBlock(
                name=name,
                digest=content.strings[STRINGS[1]][number],
                molecule=content.strings[STRINGS[2]][molecule],
                numbers=atom_numbers[molecule],
                held_out=bool(c[f"{_M}/{fields.HELD_OUT}"][molecule]),
                geometries=tuple(items),
                splits=tuple(splits),
            )
        )
    return found, content.recipe


def block_digests(path: Path | str) -> dict[str, str]:
    """Digests of the blocks in a file, by name, without reading the entries.

    Raises:
        InputFileError: the file is missing, damaged, or not part of a data set.
    """
    with open_hdf5(path) as file:
        _recipe_of(file)
        names = read_strings(file, STRINGS[0], limit=_MOST_BLOCKS)
        digests = read_strings(file, STRINGS[1], limit=_MOST_BLOCKS)
    if len(names) != len(digests):
        raise InputFileError("blocks without a digest", where=path, do=_AGAIN)
    return dict(zip(names, digests, strict=True))


def read_content(path: Path | str) -> Content:
    """Read a whole file.

    Raises:
        InputFileError: the file is missing, damaged, or not part of a data set.
    """
    with open_hdf5(path) as file:
        recipe = _recipe_of(file)
        strings = {name: read_strings(file, name, limit=_MOST_BLOCKS) for name in STRINGS}
        columns = {
            name: read_array(
                file,
                name,
                kinds=np.dtype(kind).kind,
                ndim=ndim,
                unit=unit,
                finite=np.dtype(kind).kind == "f",
                least=_LEAST.get(name, 0),
                most=_MOST.get(name),
            )
            for name, (kind, ndim, unit) in COLUMNS.items()
            if name != _LATER or _LATER in file
        }
    geometries = len(columns[f"{_G}/{fields.MOLECULE}"])
    columns.setdefault(_LATER, np.full(geometries, fields.NOT_COUNTED, np.int64))
    content = Content(Path(path), recipe, strings, columns)
    _check(content)
    return content


def _recipe_of(file: h5py.File) -> str:
    meta = member(file, fields.META)
    if attribute(meta, fields.KIND) != fields.DATASET_KIND:
        raise InputFileError("this file is not part of a data set", where=file.filename)
    require_format(file)
    return str(attribute(meta, fields.RECIPE_DIGEST, ""))


def _check(content: Content) -> None:
    """Check that the columns are consistent with each other."""
    c, sizes = content.columns, {}
    for name in (*STRINGS, *COLUMNS):
        values: Any = content.strings[name] if name in STRINGS else c[name]
        sizes[name] = len(values)
    atoms = c[f"{_M}/{fields.ATOMS}"]
    links = (
        (f"{_G}/{fields.BLOCK}", sizes[STRINGS[0]]),
        (f"{_G}/{fields.MOLECULE}", sizes[STRINGS[2]]),
        (f"{_E}/{fields.GEOMETRY}", sizes[f"{_G}/{fields.MOLECULE}"]),
        (f"{_G}/{fields.VARIATION_KIND}", len(fields.VARIATION_KINDS)),
        (f"{_E}/{fields.SPLIT}", len(fields.SPLITS)),
    )
    good = bool(len(atoms) == sizes[STRINGS[2]] == sizes[f"{_M}/{fields.HELD_OUT}"])
    good = good and sizes[STRINGS[0]] == sizes[STRINGS[1]]
    good = good and bool(((atoms >= 1) & (atoms <= MOST_ATOMS)).all())
    good = good and all(bool(((c[n] >= 0) & (c[n] < limit)).all()) for n, limit in links)
    good = good and bool((np.diff(c[f"{_E}/{fields.GEOMETRY}"]) >= 0).all())
    if good:
        flat = {
            f"{_M}/{fields.ATOMIC_NUMBER}": int(atoms.sum()),
            f"{_G}/{fields.POSITION}": int(content.geometry_atoms.sum()),
        }
        entry_atoms = int(content.entry_atoms.sum())
        flat |= {f"{_E}/{n}": entry_atoms for n in (fields.CHARGE, fields.EVENT_MOMENTUM)}
        flat[f"{_E}/{fields.ERROR}"] = entry_atoms
        rows = {_G: sizes[f"{_G}/{fields.MOLECULE}"], _E: sizes[f"{_E}/{fields.GEOMETRY}"]}
        for name, (_, ndim, _) in COLUMNS.items():
            group = name.split("/")[0]
            wanted = flat.get(name, rows.get(group, sizes[name]))
            good = good and sizes[name] == wanted and (ndim == 1 or c[name].shape[1] == 3)
    if not good:
        raise InputFileError("the columns do not fit each other", where=content.path, do=_AGAIN)
    numbers = c[f"{_M}/{fields.ATOMIC_NUMBER}"]
    molecule = c[f"{_G}/{fields.MOLECULE}"]
    starts = offsets_of(atoms)[molecule]
    row = c[f"{_E}/{fields.GEOMETRY}"]
    most = numbers[_consecutive(starts[row], content.entry_atoms)]
    if (c[f"{_E}/{fields.CHARGE}"] > most).any():
        raise InputFileError(
            "impossible charges: above the atomic number", where=content.path, do=_AGAIN
        )


def _consecutive(starts: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.int64]:
    """The numbers start, start + 1, ... of each range, concatenated."""
    ends = np.cumsum(lengths)
    within = np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)
    found: NDArray[np.int64] = np.repeat(starts, lengths) + within
    return found


def _flattened(
    blocks: Sequence[EntryBlock],
) -> tuple[dict[str, list[str]], dict[str, NDArray[Any]]]:
    """Strings and columns of a file, by path."""
    molecules: dict[str, EntryBlock] = {}
    for block in blocks:
        molecules.setdefault(block.molecule, block)
    place = {name: row for row, name in enumerate(molecules)}
    items = [(n, block, item) for n, block in enumerate(blocks) for item in block.geometries]
    results = [item for _, _, item in items]
    strings = {
        STRINGS[0]: [block.name for block in blocks],
        STRINGS[1]: [block.digest for block in blocks],
        STRINGS[2]: list(molecules),
    }
    kept = [len(item.counts) for item in results]
    columns: dict[str, Any] = {
        f"{_M}/{fields.ATOMS}": [len(block.numbers) for block in molecules.values()],
        f"{_M}/{fields.ATOMIC_NUMBER}": _flat([block.numbers for block in molecules.values()], ()),
        f"{_M}/{fields.HELD_OUT}": [block.held_out for block in molecules.values()],
        f"{_G}/{fields.BLOCK}": [n for n, _, _ in items],
        f"{_G}/{fields.MOLECULE}": [place[block.molecule] for _, block, _ in items],
        f"{_G}/{fields.VARIATION}": [item.variation for item in results],
        f"{_G}/{fields.VARIATION_KIND}": [item.kind for item in results],
        f"{_G}/{fields.DISPLACED}": [item.displaced for item in results],
        f"{_G}/{fields.TRAJECTORIES}": [item.trajectories for item in results],
        f"{_G}/{fields.COMBINATIONS}": [item.combinations for item in results],
        f"{_G}/{fields.NEUTRAL}": [item.neutral for item in results],
        f"{_G}/{fields.PHOTONS}": [item.photons for item in results],
        f"{_G}/{fields.LOST}": [item.lost for item in results],
        f"{_G}/{fields.POSITION}": _flat([item.positions for item in results], (3,)),
        f"{_E}/{fields.GEOMETRY}": np.repeat(np.arange(len(results)), kept),
        f"{_E}/{fields.COUNT}": _flat([item.counts for item in results], ()),
        f"{_E}/{fields.SPLIT}": _flat([part for b in blocks for part in b.splits], ()),
        f"{_E}/{fields.CHARGE}": _flat([item.charges for item in results], ()),
        f"{_E}/{fields.EVENT_MOMENTUM}": _flat(
            [_rounded(item.momenta, item.errors) for item in results], (3,)
        ),
        f"{_E}/{fields.ERROR}": _flat([item.errors for item in results], (3,)),
    }
    return strings, {name: np.asarray(values) for name, values in columns.items()}


def _flat(parts: Sequence[NDArray[Any]], tail: tuple[int, ...]) -> NDArray[Any]:
    """Concatenate arrays of any leading shape; all axes but the last ones are flattened."""
    flat: NDArray[Any] = np.concatenate([part.reshape(-1, *tail) for part in parts])
    return flat


def _rounded(momenta: NDArray[np.float32], errors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean momenta rounded to digits that are not far below their standard error.

    The rounding uses the error as stored, so that writing data that were read changes nothing.
    """
    stored = errors.astype(np.float16).astype(np.float64)
    with np.errstate(divide="ignore"):
        quantum = np.exp2(np.floor(np.log2(stored / 16.0)))
    known = quantum > 0
    step = np.where(known, quantum, 1.0)
    return np.where(known, np.rint(momenta / step) * step, momenta).astype(np.float32)


def _pieces(values: NDArray[Any], lengths: NDArray[Any]) -> list[NDArray[Any]]:
    """Split flat data into one array per row."""
    return np.split(values, np.cumsum(lengths)[:-1]) if len(lengths) else []
