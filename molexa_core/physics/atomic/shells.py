"""Subshells and electron configurations: names, ground states, and the notation `1s2.2s2.2p6`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from molexa_core.base.elements import BY_NUMBER, ELEMENTS, Element
from molexa_core.base.errors import UnknownIonError, UsageError, listing, near_matches

Occupation = tuple[int, ...]
"""Electrons in 1s, 2s, 2p, 3s, 3p."""


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


SUBSHELLS: Final = (Subshell(1, 0), Subshell(2, 0), Subshell(2, 1), Subshell(3, 0), Subshell(3, 1))
"""The subshells of this model, in the order of every array."""
NAMES: Final = tuple(shell.name for shell in SUBSHELLS)
LAST_NUMBER: Final = 18
"""Heaviest atom whose ground state needs no other subshell: argon."""
COVERED: Final = tuple(BY_NUMBER[number].symbol for number in range(1, LAST_NUMBER + 1))
"""The elements that this model covers."""
_PART: Final = re.compile(r"(\d[a-z])(\d+)")


def covered_element(symbol: str) -> Element:
    """The element with this symbol, if its atom is covered.

    Raises:
        UnknownIonError: no such element, or one that needs subshells beyond 3p; lists the others.
    """
    if symbol in COVERED:
        return ELEMENTS[symbol]
    what = f"no element {symbol!r}"
    if symbol in ELEMENTS:
        what = f"element {symbol!r} is not covered by the atomic model"
    near = near_matches(symbol, COVERED)
    hint = f"Did you mean {listing(near)}? " if near and symbol not in ELEMENTS else ""
    raise UnknownIonError(what, do=f"{hint}The model covers: {listing(COVERED, limit=30)}.")


def ground_occupation(number: int) -> Occupation:
    """The ground configuration of the neutral atom with this atomic number (1 to 18).

    Example:
        >>> ground_occupation(8)
        (2, 2, 4, 0, 0)
    """
    left, occupation = number, []
    for shell in SUBSHELLS:
        occupation.append(min(left, shell.capacity))
        left -= occupation[-1]
    return tuple(occupation)


def valence_subshells(number: int) -> tuple[int, ...]:
    """Indices of the subshells of the outermost occupied shell: where an electron is captured.

    For H and He 1s; for Li to Ne 2s and 2p; for Na to Ar 3s and 3p.
    """
    outer = 1 if number <= 2 else 2 if number <= 10 else 3
    return tuple(index for index, shell in enumerate(SUBSHELLS) if shell.n == outer)


def occupation_text(occupation: Occupation) -> str:
    """The configuration in the notation of `--occupation`; empty subshells are left out.

    Example:
        >>> occupation_text((2, 2, 4, 0, 0))
        '1s2.2s2.2p4'
    """
    parts = [f"{name}{count}" for name, count in zip(NAMES, occupation, strict=True) if count]
    return ".".join(parts) or "bare"


def parse_occupation(text: str, element: Element) -> Occupation:
    """The configuration of an atom or ion of this element that the text means.

    Args:
        text: subshells with their electrons, joined by dots or spaces, as `1s2.2s2.2p6.3s1`;
            what is not named is empty; `bare` is the nucleus alone.
        element: whose electrons these are.

    Raises:
        UsageError: not readable, a subshell twice or unknown, more electrons than fit or than the
            neutral atom has.

    Example:
        >>> parse_occupation("1s1.2s2.2p2", ELEMENTS["C"])
        (1, 2, 2, 0, 0)
    """
    counts = dict.fromkeys(NAMES, 0)
    seen: set[str] = set()
    for part in [] if text.strip() == "bare" else re.split(r"[.\s]+", text.strip()):
        match = _PART.fullmatch(part)
        if match is None:
            raise _wrong(text, f"cannot read {part!r}", "Write it as 1s2.2s2.2p4.")
        name, count = match[1], int(match[2])
        if name not in counts:
            raise _wrong(text, f"no subshell {name}", f"There are: {listing(NAMES)}.")
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
