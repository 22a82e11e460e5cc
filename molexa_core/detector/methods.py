"""Method numbers: the signals that a hit was made from.

A hit has three unknowns (x, y, t); every signal beyond three is a check. Methods up to
`SAFE_METHOD` have two checks or more, up to `LAST_CHECKED_METHOD` one, above it none (any three
signals give *some* hit). The number increases with the number of missing signals; 0 is a hit with
all signals. The limits 10 and 14 are those in use for the numbers of resort64c; the meaning of its
single numbers is not public and can differ.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

SAFE_METHOD: Final = 10
"""Hits up to this number were checked twice or more."""
LAST_CHECKED_METHOD: Final = 14
"""Hits above this number were not checked at all: a false one looks as good as a true one."""
NO_METHOD: Final = -1
N_METHODS: Final = 18

METHODS: Final = {
    0: "all signals",
    1: "MCP missing (hexanode)",
    2: "one end of u missing (hexanode)",
    3: "one end of v missing (hexanode)",
    4: "one end of w missing (hexanode)",
    5: "layer u missing",
    6: "layer v missing",
    7: "layer w missing",
    8: "one end each of two layers missing",
    9: "MCP and one end missing (hexanode)",
    11: "one end of every layer missing (hexanode)",
    12: "a layer and one end of another missing (hexanode), or one end missing (quad)",
    13: "MCP and one end each of two layers missing (hexanode)",
    14: "MCP and a layer missing (hexanode), or MCP missing (quad)",
    15: "MCP and one end each of two layers are all there is",
    16: "both ends of one layer and one end of another are all there is",
    17: "one end each of three layers is all there is (hexanode)",
}
"""The signals behind each number; 10 is not used."""


def method_table() -> NDArray[np.int16]:
    """(3, 3, 3, 2) method by the ends present on u, v, w and the MCP; -1 where they give no hit.

    A hit of a quad has 0 ends on w; `quad_method_table` has its numbers.
    """
    table = np.full((3, 3, 3, 2), NO_METHOD, np.int16)
    for u in range(3):
        for v in range(3):
            for w in range(3):
                table[u, v, w] = [_hexanode((u, v, w), mcp) for mcp in (False, True)]
    return table


def quad_method_table() -> NDArray[np.int16]:
    """(3, 3, 3, 2) as `method_table` for a quad, which has no layer w."""
    table = np.full((3, 3, 3, 2), NO_METHOD, np.int16)
    for u in range(1, 3):
        for v in range(1, 3):
            table[u, v, 0] = [_quad(u + v, mcp) for mcp in (False, True)]
    return table


def _hexanode(ends: tuple[int, int, int], mcp: bool) -> int:
    lowest = ends.index(min(ends))
    numbers = {
        "222 mcp": 0,
        "222": 1,
        "221 mcp": 2 + lowest,
        "220 mcp": 5 + lowest,
        "211 mcp": 8,
        "221": 9,
        "111 mcp": 11,
        "210 mcp": 12,
        "211": 13,
        "220": 14,
        "110 mcp": 15,
        "210": 16,
        "111": 17,
    }
    shape = "".join(str(n) for n in sorted(ends, reverse=True))
    return numbers.get(f"{shape} mcp" if mcp else shape, NO_METHOD)


def _quad(ends: int, mcp: bool) -> int:
    numbers = {(4, True): 0, (3, True): 12, (4, False): 14, (2, True): 15, (3, False): 16}
    return numbers.get((ends, mcp), NO_METHOD)
