"""Mean momenta of the charge combinations of many geometries, summed on the device.

Momenta are summed as whole numbers in the fixed point of `combinations.UNIT`, so that the entries
do not depend on the order in which a GPU adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from molexa_core.physics.mcmd.combinations import UNIT

_MOST_CHARGES: Final = 128
"""More than any charge of an ion."""


@dataclass(frozen=True)
class CombinationMeans:
    """m charge combinations of geometries of n atoms.

    Attributes:
        geometry: [m] int64 number of the geometry; ascending.
        charges: [m, n] int8.
        count: [m] int32, trajectories that ended so.
        trajectories: [m] int32, valid trajectories of the geometry.
        mean: [m, n, 3] float32 mean momenta, a.u.
        spread: [m, n, 3] float32 standard deviations.
        error: [m, n, 3] float32 standard errors of the means.
    """

    geometry: Tensor
    charges: Tensor
    count: Tensor
    trajectories: Tensor
    mean: Tensor
    spread: Tensor
    error: Tensor


@dataclass(frozen=True)
class Combinations:
    """m charge combinations of geometries of n atoms, and their k trajectories.

    Attributes:
        trajectory: [k] int64 numbers of the trajectories.
        row: [k] int64 which combination each of them is of.
        geometry, charges, count, trajectories: as in `CombinationMeans`.
    """

    trajectory: Tensor
    row: Tensor
    geometry: Tensor
    charges: Tensor
    count: Tensor
    trajectories: Tensor

    def means(self, momenta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, standard deviation and standard error of the mean, [m, n, 3] float32 each.

        Args:
            momenta: [k, n, 3] a.u. of the trajectories `trajectory`.
        """
        p = (momenta.double() / UNIT).round().long()
        mean, variance = _moments(p, self.row, self.count)
        spread = variance.sqrt()
        error = spread / self.count.double().sqrt().view(-1, 1, 1)
        return mean.float(), spread.float(), error.float()


def combinations_of(
    charges: Tensor,
    lost: Tensor,
    *,
    geometries: int,
    least: int,
    most: int,
    rarity: float,
    seed: int,
    first: int = 0,
) -> Combinations:
    """Sort trajectories by geometry and charges; arguments as for `combination_means`."""
    each = len(charges) // geometries
    place = torch.arange(geometries, device=charges.device).repeat_interleave(each)
    valid = torch.bincount(place[~lost], minlength=geometries)
    kept = (~lost & (charges > 0).all(1)).nonzero()[:, 0]
    of_kept, place = charges[kept], place[kept]
    code = _codes(of_kept, place, geometries)
    found, group, count = torch.unique(code, return_inverse=True, return_counts=True)
    one = torch.empty_like(found)  # any trajectory of each group: all have the same charges
    one[group] = torch.arange(len(group), device=group.device)
    geometry, combination = place[one], of_kept[one]
    chosen = _chosen(geometry + first, combination, count, least, most, rarity, seed)
    rank = torch.full_like(count, -1)
    rank[chosen] = torch.arange(int(chosen.sum()), device=rank.device)
    row = rank[group]
    some = row >= 0
    return Combinations(
        trajectory=kept[some],
        row=row[some],
        geometry=geometry[chosen] + first,
        charges=combination[chosen],
        count=count[chosen].int(),
        trajectories=valid[geometry[chosen]].int(),
    )


def combination_means(
    charges: Tensor,
    momenta: Tensor,
    lost: Tensor,
    *,
    geometries: int,
    least: int,
    most: int,
    rarity: float,
    seed: int,
    first: int = 0,
) -> CombinationMeans:
    """Sort trajectories by geometry and charges, and average their momenta.

    Combinations with a neutral atom are left out. If a geometry has more than `most` combinations,
    these are drawn without replacement, each with a weight of its count to the power of `rarity`:
    with 1 as they occur, with 0 all alike. The draw is a function of the seed, the number of the
    geometry and the charges.

    Args:
        charges: [b, n] int8, of `geometries` equal parts one after the other.
        momenta: [b, n, 3] float32, a.u.
        lost: [b] invalid trajectories.
        geometries: number of geometries.
        least: smallest count of a combination, at least 2.
        most: largest number of combinations of a geometry.
        rarity: exponent of the weights.
        seed: of the draw.
        first: number of the first geometry, which the results are counted from.
    """
    found = combinations_of(
        charges,
        lost,
        geometries=geometries,
        least=least,
        most=most,
        rarity=rarity,
        seed=seed,
        first=first,
    )
    mean, spread, error = found.means(momenta[found.trajectory])
    return CombinationMeans(
        geometry=found.geometry,
        charges=found.charges,
        count=found.count,
        trajectories=found.trajectories,
        mean=mean,
        spread=spread,
        error=error,
    )


def _codes(charges: Tensor, place: Tensor, geometries: int) -> Tensor:
    """[b] a number that is different for different geometries or charges."""
    code, most = place, geometries
    digits = int(charges.max()) + 1 if len(charges) else 1
    for atom in range(charges.shape[1]):
        if most * digits >= 2**62:  # the numbers so far are replaced by their rank
            ranks, code = torch.unique(code, return_inverse=True)
            most = len(ranks)
        code = code * digits + charges[:, atom].long()
        most *= digits
    return code


def _moments(p: Tensor, row: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Means (m, n, 3) and variances of single trajectories, in float64.

    Deviations from the rounded means are summed, so that nothing is lost by cancellation and whole
    numbers of 64 bits suffice.
    """
    shape = (len(count), *p.shape[1:])
    number = count.double().view(-1, 1, 1)
    total = torch.zeros(shape, dtype=torch.int64, device=p.device).index_add_(0, row, p)
    near = (total.double() / number).round().long()
    square = torch.zeros_like(total).index_add_(0, row, (p - near[row]).square())
    off = total.double() / number - near.double()
    variance = (square.double() - number * off.square()).clamp_min(0.0) / (number - 1.0)
    return (near.double() + off) * UNIT, variance * UNIT**2


def _chosen(
    geometry: Tensor,
    charges: Tensor,
    count: Tensor,
    least: int,
    most: int,
    rarity: float,
    seed: int,
) -> Tensor:
    """[c] which combinations are kept (Efraimidis and Spirakis: the largest of ln w + Gumbel)."""
    noise = _uniform(geometry, charges, seed)
    score = rarity * count.double().log() - (-noise.log()).log()
    score = torch.where(count >= least, score, torch.full_like(score, -torch.inf))
    order = torch.argsort(score, descending=True, stable=True)
    order = order[torch.argsort(geometry[order], stable=True)]
    sorted_geometry = geometry[order]
    first = torch.searchsorted(sorted_geometry, sorted_geometry)
    chosen = torch.zeros(len(count), dtype=torch.bool, device=count.device)
    chosen[order] = torch.arange(len(order), device=order.device) - first < most
    return chosen & (count >= least)


def _uniform(geometry: Tensor, charges: Tensor, seed: int) -> Tensor:
    """[c] numbers in (0, 1), the same on every device: splitmix64 over geometry and charges."""
    state = _mixed(geometry + (seed & 0x7FFFFFFFFFFFFFFF))
    for atom in range(charges.shape[1]):
        state = _mixed(state * _MOST_CHARGES + charges[:, atom].long())
    return ((state >> 11 & (2**53 - 1)).double() + 0.5) * 2.0**-53


def _mixed(x: Tensor) -> Tensor:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014) on int64 that wrap around."""
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ (x >> 30 & 2**34 - 1)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> 27 & 2**37 - 1)) * _signed(0x94D049BB133111EB)
    return x ^ (x >> 31 & 2**33 - 1)


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
