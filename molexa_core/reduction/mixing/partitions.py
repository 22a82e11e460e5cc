"""The ways in which the ions of a combination can come from several explosions.

A shot holds a Poisson number of explosions, residual ions and dark counts, all independent. The
mean number of combinations of k ions per shot then is the sum, over all partitions of the ions
into blocks, of the product of the blocks' joint factorial cumulants; the cumulant of the whole is
the number of true combinations. Solved for the others (Moebius inversion on the lattice of
partitions), the false ones are

    false = - sum over partitions with m >= 2 blocks of (-1)^(m-1) (m-1)! product of rho(block),

where rho(block) is the mean number of combinations of the block's ions in a shot, false ones
included: what is found when the blocks are taken from different shots (D. J. Daley and D.
Vere-Jones, An Introduction to the Theory of Point Processes I, 2nd ed., section 5.2).

Like ions count as combinations, not as permutations. All partitions that differ by an exchange of
like ions are then one partition of a multiset, whose coefficient is divided by the number of
exchanges of equal blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

Block = tuple[int, ...]
"""Number of ions of each kind."""


@dataclass(frozen=True)
class Partition:
    """Ions of a combination divided among independent sources.

    Attributes:
        blocks: number of ions of each kind in each block, at least one ion in each.
        coefficient: the weight with which combinations of these blocks, taken from different
            shots, count as false; negative ones correct what others count too often.
    """

    blocks: tuple[Block, ...]
    coefficient: float


def partitions(wanted: Block) -> tuple[Partition, ...]:
    """All partitions of the ions into at least two blocks.

    Args:
        wanted: number of ions of each kind.

    Example:
        >>> [(p.blocks, p.coefficient) for p in partitions((1, 1))]
        [(((1, 0), (0, 1)), 1.0)]
    """
    found = []
    for blocks in _divided(wanted, wanted):
        m = len(blocks)
        if m < 2:
            continue
        alike = math.prod(math.factorial(blocks.count(block)) for block in set(blocks))
        found.append(Partition(blocks, (-1.0) ** m * math.factorial(m - 1) / alike))
    return tuple(found)


def number_of_partitions(wanted: Block, most: int) -> int:
    """How many ways there are to divide the ions, the undivided one included; at most `most`."""
    number = 0
    for _ in _divided(wanted, wanted):
        number += 1
        if number >= most:
            break
    return number


def _divided(left: Block, largest: Block) -> Iterator[tuple[Block, ...]]:
    """The multisets of blocks that add up to `left`, none after `largest` in the order."""
    if not any(left):
        yield ()
        return
    for block in _parts(left):
        if block <= largest:
            rest = tuple(have - taken for have, taken in zip(left, block, strict=True))
            for others in _divided(rest, block):
                yield (block, *others)


def _parts(left: Block) -> Iterator[Block]:
    """Every block within `left`, the largest in lexicographic order first; not the empty one."""
    for block in product(*(range(have, -1, -1) for have in left)):
        if any(block):
            yield block
