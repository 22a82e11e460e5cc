"""Subshells and electron configurations: names, ground states, and the notation `1s2.2s2.2p6`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from molexa_core.base.errors import UnknownIonError, UsageError, listing, near_matches
from molexa_core.base.matter.elements import BY_NUMBER, ELEMENTS, Element

Occupation = tuple[int, ...]
"""Electrons in the subshells of the element, in the order of `SUBSHELLS`."""


@dataclass(frozen=True, slots=True)
class Subshell:
    """One subshell.

    Attributes:
        n: principal quantum number.
        l: orbital angular momentum.
    """

    n: int
    l: int  # noqa: E741  (the physicists' letter)

    @property
    def name(self) -> str:
        """Such as `2p`."""
        return f"{self.n}{'spdf'[self.l]}"

    @property
    def capacity(self) -> int:
        """Electrons of the closed subshell, 4 l + 2."""
        return 4 * self.l + 2


SUBSHELLS: Final = tuple(
    Subshell(n, l)
    for n, l in (  # noqa: E741
        *((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)),
        *((4, 0), (4, 1), (4, 2), (5, 0), (5, 1)),
    )
)
"""The subshells of this model, in the order of every array; an element has the first few."""
NAMES: Final = tuple(shell.name for shell in SUBSHELLS)
_FILLED: Final = (0, 1, 2, 3, 4, 6, 5, 7, 9, 8, 10)
"""The order in which neutral atoms fill subshells (Madelung's rule)."""
_COUNTS: Final = ((18, 5), (36, 8), (54, 11))
"""Atomic number of the heaviest atom whose ground state fits into a number of subshells."""
ON_DEMAND: Final = ("Br", "Kr", "I", "Xe")
"""Elements with d electrons, which have too many configurations to compute them in advance."""
COVERED: Final = (*(BY_NUMBER[number].symbol for number in range(1, 19)), *ON_DEMAND)
"""The elements that this model covers."""
_PART: Final = re.compile(r"(\d[a-z])(\d+)")


def covered_element(symbol: str) -> Element:
    """The element with this symbol, if its atom is covered.

    Raises:
        UnknownIonError: no such element, or one that is not covered; the message lists those that
            are.
    """
    if symbol in COVERED:
        return ELEMENTS[symbol]
    near = near_matches(symbol, COVERED)
    hint = f"Did you mean {listing(near)}? " if near else ""
    raise UnknownIonError(
        f"no element {symbol!r} in the atomic model",
        do=f"{hint}The model covers: {listing(COVERED, limit=30)}.",
    )


def subshells_of(number: int) -> tuple[Subshell, ...]:
    """The subshells in the arrays of the element with this atomic number.

    Example:
        >>> [shell.name for shell in subshells_of(35)][-3:]
        ['3d', '4s', '4p']
    """
    return SUBSHELLS[: next(count for last, count in _COUNTS if number <= last)]


def ground_occupation(number: int) -> Occupation:
    """The ground configuration of the neutral atom of a covered element.

    Example:
        >>> ground_occupation(8)
        (2, 2, 4, 0, 0)
    """
    left, occupation = number, [0] * len(subshells_of(number))
    for index in _FILLED[: len(occupation)]:
        occupation[index] = min(left, SUBSHELLS[index].capacity)
        left -= occupation[index]
    return tuple(occupation)


def valence_subshells(number: int) -> tuple[int, ...]:
    """Indices of the subshells of the outermost occupied shell: where an electron is captured.

    For H and He 1s; for Li to Ne 2s and 2p; for Na to Ar 3s and 3p; 4s and 4p of Br and Kr, 5s and
    5p of I and Xe.
    """
    ground = ground_occupation(number)
    outer = max(shell.n for shell, count in zip(SUBSHELLS, ground, strict=False) if count)
    # The d subshell of the outermost shell is empty in all covered atoms.
    return tuple(
        index
        for index, shell in enumerate(subshells_of(number))
        if shell.n == outer and shell.l < 2
    )


def outermost(occupation: Occupation) -> int:
    """Index of the last occupied subshell; -1 for the nucleus alone."""
    return max((index for index, count in enumerate(occupation) if count), default=-1)


def occupation_text(occupation: Occupation) -> str:
    """The configuration in the notation of `--occupation`; empty subshells are left out.

    Example:
        >>> occupation_text((2, 2, 4, 0, 0))
        '1s2.2s2.2p4'
    """
    parts = [f"{name}{count}" for name, count in zip(NAMES, occupation, strict=False) if count]
    return ".".join(parts) or "bare"


def parse_occupation(text: str, element: Element) -> Occupation:
    """Read the configuration of an atom or ion of this element.

    Args:
        text: subshells with their electrons, joined by dots or spaces, as `1s2.2s2.2p6.3s1`;
            subshells that are not named are empty; `bare` is the bare nucleus.
        element: the element.

    Raises:
        UsageError: the text cannot be read, a subshell is unknown or occurs twice, or there are
            more electrons than fit into a subshell or than the neutral atom has.

    Example:
        >>> parse_occupation("1s1.2s2.2p2", ELEMENTS["C"])
        (1, 2, 2, 0, 0)
    """
    counts = dict.fromkeys((shell.name for shell in subshells_of(element.number)), 0)
    seen: set[str] = set()
    for part in [] if text.strip() == "bare" else re.split(r"[.\s]+", text.strip()):
        match = _PART.fullmatch(part)
        if match is None:
            raise _wrong(text, f"cannot read {part!r}", "Write it as 1s2.2s2.2p4.")
        name, count = match[1], int(match[2])
        if name not in counts:
            raise _wrong(
                text, f"no subshell {name}", f"There are: {listing(list(counts), limit=11)}."
            )
        if name in seen:
            raise _wrong(text, f"{name} stands twice", "Name every subshell once.")
        capacity = SUBSHELLS[NAMES.index(name)].capacity
        if count > capacity:
            raise _wrong(text, f"{count} electrons in {name}", f"It holds at most {capacity}.")
        counts[name] = count
        seen.add(name)
    occupation = tuple(counts.values())
    if sum(occupation) > element.number:
        raise _wrong(
            text,
            f"{sum(occupation)} electrons for {element.symbol}, which has {element.number}",
            "Negative ions are not covered.",
        )
    return occupation


def _wrong(text: str, what: str, do: str) -> UsageError:
    return UsageError(f"impossible occupation: {what}", where=text or "(empty)", do=do)
