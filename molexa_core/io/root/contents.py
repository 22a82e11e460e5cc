"""Trees and RNTuples in a ROOT file: opening by name, cycles, friend trees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from molexa_core.base.errors import listing
from molexa_core.io.root.file import NTUPLES
from molexa_core.io.root.ntuples import NtupleTable
from molexa_core.io.root.trees import RootTable
from molexa_core.io.tables.units_of_columns import Choice

RootFileTable = RootTable | NtupleTable


def open_table(file: Any, name: str, path: Path) -> RootFileTable:
    """The tree or RNTuple of this name; of several cycles the newest.

    Raises:
        InputFileError: it is damaged.
    """
    kind = file.classname_of(name)
    return (NtupleTable if kind in NTUPLES else RootTable)(file, name, path)


def named_with_cycle(file: Any, table: RootFileTable, choice: Choice) -> Choice:
    """The choice, with the cycle in its sentence where there are several."""
    cycles = _cycles(file, table)
    if len(cycles) < 2:
        return choice
    others = listing(f"{cycle} with {rows} entries" for cycle, rows in cycles[1:])
    newest = f"of {len(cycles)} cycles the newest, {cycles[0][0]} with {cycles[0][1]} entries"
    return replace(choice, why=f"{choice.why}; {newest} (others: {others})")


def doubts(file: Any, table: RootFileTable) -> list[str]:
    """Warnings about hits that may be missing: unread friends, an older cycle with more rows."""
    found = []
    friends = friends_of(getattr(table, "tree", None))
    if friends:
        found.append(
            f"{table.label} has friends, which are not read: {listing(friends)}; what they hold "
            "in place of its columns is missing"
        )
    cycles = _cycles(file, table)
    more = [f"{cycle} ({rows})" for cycle, rows in cycles[1:] if rows > cycles[0][1]]
    if more:
        found.append(
            f"{table.label}: cycle {cycles[0][0]} is the newest and was read ({cycles[0][1]} "
            f"entries), but older ones have more entries: {listing(more)}"
        )
    return found


def friends_of(tree: Any) -> list[str]:
    """Names of the friends of a tree, with their files where they are in others."""
    member = getattr(tree, "member", None)
    stored = None if member is None else member("fFriends", none_if_missing=True)
    names = []
    for friend in stored or ():
        name = str(friend.member("fTreeName", none_if_missing=True) or friend.member("fName"))
        file = friend.member("fTitle", none_if_missing=True)
        names.append(f"{name} in {file}" if file else name)
    return names


def _cycles(file: Any, table: RootFileTable) -> list[tuple[int, int]]:
    """Number and entries of each cycle of a table, the newest first."""
    found = []
    for key in file.keys(recursive=True, cycle=True):
        name, _, cycle = key.rpartition(";")
        if name == table.name and cycle.isdigit():
            found.append(int(cycle))
    if len(found) < 2:
        return [(cycle, table.n_rows or 0) for cycle in found]
    return [
        (cycle, int(file[f"{table.name};{cycle}"].num_entries))
        for cycle in sorted(found, reverse=True)
    ]
