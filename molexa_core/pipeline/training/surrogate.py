"""Training of the surrogate of the Monte-Carlo model (`physics.surrogate`).

Rises are learned through the explosion: the momenta of an entry are linearised about the rises that
the network gave it last, p = p0 + J (rises - rises0), with p0 and J from the compiled engine on the
cores of the processor. While the network trains they are computed anew all the time, for one number
of atoms after the other (`Linearisation`): a Gauss-Newton iteration whose steps the network takes.

Some molecules are set aside: they teach only the estimates of the error, which therefore know what
the network does on molecules that it has not seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.physics.mcmd.trajectories import available_cores
from molexa_core.physics.surrogate.absorption import absorption_table
from molexa_core.physics.surrogate.charge_network import (
    NetworkSize,
    Predicted,
    SurrogateNetwork,
    impulses,
    log_distances,
    places_of,
)
from molexa_core.physics.surrogate.covariance import error_factors
from molexa_core.physics.surrogate.entries import FamilyEntries
from molexa_core.physics.surrogate.rises import explode_rises

FLOOR: Final = 0.006
"""Relative error of the momenta to which an entry counts as known exactly, in the loss."""
SHARE_FLOOR: Final = 0.1
"""The same for the logarithm of a yield."""
LEAST_ERROR: Final = 5e-4
"""Relative error of the momenta that is always left."""
ASIDE: Final = 8
"""One in so many molecules (and of the random clusters) teaches only the errors."""
MOMENTA: Final = NetworkSize()
YIELDS: Final = NetworkSize(width=96, layers=3, channels=24, hidden=64)
ERRORS_EVERY: Final = 3
"""Steps of which one teaches the errors."""
_CHUNK: Final = 2048
_AT_ONCE: Final = 16384


@dataclass(frozen=True)
class SurrogateTraining:
    """How to train.

    Attributes:
        seconds: length of the training.
        rate: largest learning rate.
        batch: entries of five atoms per step; fewer of larger ones.
        warm_up: steps until the rate is reached.
        average: of the moving average of the weights.
        decay: weight decay.
        least_count: smallest count of an entry that the generator gives, see `mixed_entries`.
        seed: of the draws.
        momenta, yields: sizes of the networks.
    """

    seconds: float
    rate: float = 2e-3
    batch: int = 8192
    warm_up: int = 300
    average: float = 0.999
    decay: float = 0.01
    least_count: int = 8
    seed: int = 0
    momenta: NetworkSize = MOMENTA
    yields: NetworkSize = YIELDS


@dataclass
class Bucket:
    """Entries with the same number of atoms, on the device, without padding.

    Attributes:
        elements, charges, masses: [M, N].
        positions, momenta, errors: [M, N, 3].
        spread: [M, N] rms over directions.
        count, trajectories: [M].
        settings: [M, 9].
        molecule, geometry: [M].
        aside: [M] whether the entry teaches only the errors.
        tau, middle: [M, N] rises about which it is linearised, as `Predicted`.
        base: [M, N, 3] momenta at these rises.
        by_rises: [M, 3 N, 2 N] derivatives by `tau`, then by `middle`.
    """

    elements: Tensor
    charges: Tensor
    masses: Tensor
    positions: Tensor
    momenta: Tensor
    errors: Tensor
    spread: Tensor
    count: Tensor
    trajectories: Tensor
    settings: Tensor
    molecule: Tensor
    geometry: Tensor
    aside: Tensor
    tau: Tensor
    middle: Tensor
    base: Tensor
    by_rises: Tensor

    def __len__(self) -> int:
        return int(self.elements.shape[0])

    @property
    def atoms(self) -> int:
        """Number of atoms."""
        return int(self.elements.shape[1])

    @property
    def scale(self) -> Tensor:
        """[M] rms momentum."""
        return self.momenta.square().mean(dim=(1, 2)).sqrt()

    def rows(self, rows: Tensor | slice) -> Bucket:
        """Some of the entries."""
        return Bucket(**{name: value[rows] for name, value in vars(self).items()})

    def refresh(self, network: SurrogateNetwork, workers: int) -> float:
        """Linearise about the rises that the network gives now.

        Returns:
            Median over entries of how far the momenta had been off by being linearised, relative.
        """
        if not len(self):
            return 0.0
        with ThreadPoolExecutor(max(workers, 1)) as pool:
            return Linearisation(self, network, pool).install()

    def linearised(self, log_tau: Tensor, middle: Tensor) -> Tensor:
        """[M, N, 3] momenta at other rises."""
        change = torch.cat([log_tau - self.tau, middle - self.middle], dim=1)
        moved = torch.einsum("mir,mr->mi", self.by_rises, change)
        return self.base + moved.reshape(self.base.shape)


class Linearisation:
    """Explosions of a bucket at the rises that the network gives now, computed in threads.

    Args:
        bucket: the entries.
        network: gives the rises.
        pool: threads.
    """

    def __init__(self, bucket: Bucket, network: SurrogateNetwork, pool: ThreadPoolExecutor) -> None:
        self.bucket = bucket
        found = []
        with torch.no_grad():
            for at in range(0, len(bucket), _AT_ONCE):
                one = predict(network, bucket.rows(slice(at, at + _AT_ONCE)))
                found.append((one.log_tau, one.middle, one.unit))
        self.log_tau, self.middle, unit = (torch.cat(v) for v in zip(*found, strict=True))
        n, m = bucket.atoms, len(bucket)
        self._unit = unit.double().cpu().numpy()[:, None]
        self._given = [
            *(v.double().cpu().numpy() for v in (bucket.positions, bucket.charges, bucket.masses)),
            self.log_tau.double().cpu().numpy(),
            self.middle.double().cpu().numpy() * self._unit,
        ]
        self._base = np.empty((m, n, 3), np.float32)
        self._changes = np.empty((m, 3 * n, 2 * n), np.float32)
        size = max(64, _CHUNK * 25 // n**2)
        self._jobs = [pool.submit(self._work, at, at + size) for at in range(0, m, size)]

    @property
    def done(self) -> bool:
        """Whether it can be installed without waiting."""
        return all(job.done() for job in self._jobs)

    def install(self) -> float:
        """Wait, and linearise the entries anew; see `Bucket.refresh`."""
        for job in self._jobs:
            job.result()
        base, changes, bucket = self._base, self._changes, self.bucket
        good = np.isfinite(base).all(axis=(1, 2)) & np.isfinite(changes).all(axis=(1, 2))
        base[~good], changes[~good] = 0.0, 0.0
        device = bucket.positions.device
        exploded = torch.from_numpy(base).to(device)
        expected = bucket.linearised(self.log_tau, self.middle)
        off = (expected - exploded).square().mean(dim=(1, 2)).sqrt() / bucket.scale
        bucket.tau, bucket.middle, bucket.base = self.log_tau, self.middle, exploded
        bucket.by_rises = torch.from_numpy(changes).to(device)
        return float(off.median())

    def _work(self, begin: int, end: int) -> None:
        part, n = slice(begin, end), self.bucket.atoms
        found = explode_rises(*(value[part] for value in self._given), derivatives="rises")
        self._base[part] = found.momenta
        if found.by_rises is not None:
            found.by_rises[..., n:] *= self._unit[part, :, None]
            self._changes[part] = found.by_rises


def buckets_of(entries: FamilyEntries, device: torch.device | str) -> dict[int, Bucket]:
    """Entries by number of atoms, on the device."""
    table = torch.ones(128)
    for number, element in BY_NUMBER.items():
        table[number] = element.isotope_mass
    result = {}
    atoms = entries.atoms
    for n in sorted(set(atoms.tolist())):
        some = entries.select(atoms == n).narrowed(n).to(device)
        charges = some.charges.float()
        zero = torch.zeros_like(charges)
        which = torch.where(some.molecule >= 0, some.molecule, some.geometry)
        result[n] = Bucket(
            elements=places_of(some.numbers),
            charges=charges,
            masses=table.to(device)[some.numbers.long()] - charges,
            positions=some.positions,
            momenta=some.momenta,
            errors=some.errors,
            spread=some.spread.square().mean(dim=2).sqrt(),
            count=some.count.float(),
            trajectories=some.trajectories.float(),
            settings=some.settings,
            molecule=some.molecule,
            geometry=some.geometry,
            aside=((which * 2654435761) % 4294967296) % ASIDE == 0,
            tau=zero,
            middle=zero,
            base=torch.zeros_like(some.momenta),
            by_rises=torch.zeros(len(some), 3 * n, 2 * n, device=device),
        )
    return result


def joined(parts: Sequence[dict[int, Bucket]]) -> dict[int, Bucket]:
    """Buckets of several blocks."""
    sizes = sorted({n for part in parts for n in part})
    result = {}
    for n in sizes:
        same = [part[n] for part in parts if n in part]
        result[n] = Bucket(
            **{name: torch.cat([getattr(one, name) for one in same]) for name in vars(same[0])}
        )
    return result


def predict(network: SurrogateNetwork, bucket: Bucket) -> Predicted:
    """Rises and impulses of entries."""
    model = network.momenta
    encoded = model.encode(bucket.elements, bucket.charges, bucket.settings)
    found: Predicted = model(encoded, log_distances(bucket.positions))
    return found


def total_momenta(bucket: Bucket, found: Predicted) -> Tensor:
    """[M, N, 3] predicted momenta, linearised in the rises."""
    exploded = bucket.linearised(found.log_tau, found.middle)
    added = impulses(found.impulse, bucket.positions, bucket.charges, bucket.masses)
    return exploded + added


def momentum_loss(bucket: Bucket, found: Predicted) -> Tensor:
    """Misfit of the momenta in units of the error, robust against single entries."""
    scale = bucket.scale[:, None, None]
    variance = bucket.errors.square() + (FLOOR * scale).square()
    chi2 = ((total_momenta(bucket, found) - bucket.momenta).square() / variance).mean(dim=(1, 2))
    fit = 2.0 * ((1.0 + chi2).sqrt() - 1.0)
    # Rises stay where the explosion is nearly linear, and near their first guess if nothing pulls.
    step = (found.log_tau - bucket.tau).abs() + (found.middle - bucket.middle).abs()
    trust = (step - 0.7).clamp_min(0.0).square().mean(dim=1)
    prior = (found.middle - found.middle.mean(1, keepdim=True)).square().mean(dim=1)
    weak = found.impulse.square().mean(dim=(1, 2))
    return (fit + trust + 1e-3 * prior + 1e-2 * weak).mean()


def uncertainty_loss(network: SurrogateNetwork, bucket: Bucket, found: Predicted) -> Tensor:
    """Negative logarithm of the likelihood of the momenta, with the predicted covariance."""
    residual = (total_momenta(bucket, found) - bucket.momenta).detach()
    frozen = replace(found, hidden=found.hidden.detach(), atoms=found.atoms.detach())
    scale = bucket.scale
    factors = error_factors_of(network, bucket, frozen)
    size = residual[0].numel()
    unit = scale[:, None, None].double()
    factors = factors.double() / unit
    noise = (bucket.errors.double() / unit).square().reshape(len(residual), size) + LEAST_ERROR**2
    covariance = factors @ factors.transpose(1, 2) + torch.diag_embed(noise)
    lower, _ = torch.linalg.cholesky_ex(covariance)
    off = residual.reshape(len(residual), size, 1).double() / unit
    white = torch.linalg.solve_triangular(lower, off, upper=False)
    logs = lower.diagonal(dim1=1, dim2=2).clamp_min(1e-12).log().sum(dim=1)
    # A single outlier must not set the errors of all: a Student distribution of 8 degrees.
    degrees = 8.0
    chi2 = white.square().sum(dim=(1, 2))
    tail = 0.5 * (degrees + size) * torch.log1p(chi2 / degrees)
    loss = (tail + logs) / size
    mean: Tensor = loss.mean().float()
    return mean


def error_factors_of(network: SurrogateNetwork, bucket: Bucket, found: Predicted) -> Tensor:
    """[M, 3 N, K] factors of the predicted covariance of entries."""
    atom, whole = network.uncertainty(found)
    explosion = (bucket.by_rises, bucket.base, bucket.positions, bucket.charges, bucket.masses)
    return error_factors(atom, whole, *explosion)


def yield_loss(
    network: SurrogateNetwork, bucket: Bucket, found: Predicted, least: int
) -> tuple[Tensor, Tensor]:
    """Losses of share and spread on entries that teach, and of the error on those set aside."""
    log_share, log_spread = network.shares(found)
    expected = (log_share.exp() * bucket.trajectories).clamp_min(1e-3)
    seen = torch.special.gammainc(torch.full_like(expected, float(least)), expected)
    # Entries exist where the count is at least so large: Poisson, cut off below.
    nll = expected - bucket.count * expected.log() + seen.clamp_min(1e-20).log()
    best = bucket.count - bucket.count * bucket.count.log()
    weight = 1.0 / (1.0 + bucket.count * SHARE_FLOOR**2)
    fit = ((nll - best).clamp_max(1e6) * weight).clamp_min(-5.0)
    fit = 2.0 * ((1.0 + 2.0 * (fit + 5.0)).sqrt())
    target = (bucket.spread / bucket.scale[:, None]).clamp_min(1e-4).log()
    trust = 1.0 / (1.0 + 5.0 / bucket.count[:, None])
    spread = (trust * (log_spread - target).abs()).mean(dim=1)
    keep = (~bucket.aside).float()
    teach = ((fit + 0.5 * spread) * keep).sum() / keep.sum().clamp_min(1.0)
    frozen = replace(found, hidden=found.hidden.detach(), atoms=found.atoms.detach())
    log_error = network.share_errors(frozen)
    off = (log_share.detach() - (bucket.count / bucket.trajectories).log()).square()
    variance = (2.0 * log_error).exp() + 1.0 / bucket.count
    error = 2.5 * torch.log1p(off / (4.0 * variance)) + 0.5 * variance.log()
    aside = bucket.aside.float()
    return teach, (error * aside).sum() / aside.sum().clamp_min(1.0)


@dataclass
class Trainer:
    """A training in progress.

    Attributes:
        network: being trained.
        averaged: moving average of it, which is what is kept.
        settings: how.
        buckets: entries by number of atoms.
        say: what is told as it goes.
    """

    network: SurrogateNetwork
    averaged: SurrogateNetwork
    settings: SurrogateTraining
    buckets: dict[int, Bucket]
    say: Callable[[str], None]

    def train(self) -> dict[str, Any]:
        """Train for the given time.

        Returns:
            Losses and counts, for the description of the weights.
        """
        how = self.settings
        random = np.random.default_rng(how.seed)
        workers = available_cores()
        self._refresh(workers)
        pool = ThreadPoolExecutor(max(workers - 1, 1))
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=how.rate, weight_decay=how.decay, betas=(0.9, 0.98)
        )
        sizes = sorted(self.buckets)
        share = np.array([len(self.buckets[n]) for n in sizes], float)
        taught = {n: torch.nonzero(~self.buckets[n].aside)[:, 0] for n in sizes}
        aside = {n: torch.nonzero(self.buckets[n].aside)[:, 0] for n in sizes}
        began = said = time.monotonic()
        step, visits, turn = 0, 0, 0
        current: Linearisation | None = None
        off: dict[int, float] = {}
        sums: dict[str, list[Tensor]] = {}
        while (done := (time.monotonic() - began) / how.seconds) < 1.0:
            if current is None or current.done:
                if current is not None:
                    off[current.bucket.atoms] = current.install()
                current = Linearisation(self.buckets[sizes[turn % len(sizes)]], self.network, pool)
                turn += 1
            rate = how.rate * min(1.0, (step + 1) / how.warm_up)
            rate *= 0.5 * (1.0 + math.cos(math.pi * done)) + 1e-3
            for group in optimizer.param_groups:
                group["lr"] = rate
            n = int(random.choice(sizes, p=share / share.sum()))
            chosen = aside[n] if step % ERRORS_EVERY == 0 else aside[n][:0]
            losses = self._losses(n, self._draw(taught[n], n), self._draw(chosen, n, 4))
            if not losses:
                continue
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(torch.stack(list(losses.values())).sum())
            grads = [p.grad for p in self.network.parameters() if p.grad is not None]
            for grad in grads:  # one entry out of place must not end a training
                grad.nan_to_num_(0.0, 0.0, 0.0)
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            optimizer.step()
            self._average(step)
            for name, value in losses.items():
                sums.setdefault(name, []).append(value.detach())
            visits += min(len(taught[n]), self._batch(n))
            step += 1
            if time.monotonic() - said > 10.0:
                said = time.monotonic()
                shown = {k: float(torch.stack(v).mean()) for k, v in sums.items()}
                sums.clear()
                text = ", ".join(f"{k} {v:.4f}" for k, v in shown.items())
                self.say(f"{said - began:4.0f} s, step {step}, {visits / 1e6:.1f} M visits: {text}")
                lines = " ".join(f"{k}: {100 * v:.2f}%" for k, v in sorted(off.items()))
                self.say(f"linearised anew {turn} times, had been off by {lines}")
        pool.shutdown(wait=False, cancel_futures=True)
        return {"steps": step, "visits": visits, "entries": int(share.sum()), "turns": turn}

    def _refresh(self, workers: int) -> None:
        began = time.monotonic()
        off = {n: bucket.refresh(self.network, workers) for n, bucket in self.buckets.items()}
        text = " ".join(f"{n}: {value * 100:.2f}%" for n, value in off.items())
        self.say(f"linearised anew in {time.monotonic() - began:.1f} s; had been off by {text}")

    def _batch(self, n: int) -> int:
        return max(64, self.settings.batch * 30 // (5 + n * n))

    def _draw(self, rows: Tensor, n: int, part: int = 1) -> Tensor:
        size = min(self._batch(n) // part, len(rows))
        if not size:
            return rows
        return rows[torch.randint(len(rows), (size,), device=rows.device)]

    def _losses(self, n: int, taught: Tensor, aside: Tensor) -> dict[str, Tensor]:
        bucket, losses = self.buckets[n], {}
        if len(taught):
            some = bucket.rows(taught)
            losses["momenta"] = momentum_loss(some, predict(self.network, some))
        if len(aside):
            some = bucket.rows(aside)
            with torch.no_grad():
                found = predict(self.network, some)
            losses["errors"] = 0.2 * uncertainty_loss(self.network, some, found)
        rows = torch.cat([taught, aside])
        if len(rows):
            some = bucket.rows(rows)
            model = self.network.yields
            encoded = model.encode(some.elements, some.charges, some.settings)
            found = model(encoded, log_distances(some.positions))
            teach, error = yield_loss(self.network, some, found, self.settings.least_count)
            losses["yields"], losses["yield errors"] = 0.2 * teach, 0.1 * error
        return losses

    @torch.no_grad()
    def _average(self, step: int) -> None:
        keep = min(self.settings.average, (step + 1) / (step + 10))
        ours: list[Tensor] = list(self.network.parameters())
        kept: list[Tensor] = list(self.averaged.parameters())
        torch._foreach_lerp_(kept, ours, 1.0 - keep)


def new_network(settings: SurrogateTraining, device: torch.device | str) -> SurrogateNetwork:
    """A network before training."""
    torch.manual_seed(settings.seed)
    return SurrogateNetwork(settings.momenta, settings.yields, absorption_table()).to(device)


def train_surrogate(
    entries: Iterable[FamilyEntries],
    settings: SurrogateTraining,
    *,
    device: torch.device | str,
    start: SurrogateNetwork | None = None,
    say: Callable[[str], None],
) -> tuple[SurrogateNetwork, dict[str, Any]]:
    """Train on entries.

    Args:
        entries: blocks.
        settings: how.
        device: of the network.
        start: weights to begin with; new ones if not given.
        say: what is told as it goes.
    """
    buckets = joined([buckets_of(block, device) for block in entries if len(block)])
    network = new_network(settings, device) if start is None else start.to(device)
    trainer = Trainer(network, deepcopy(network), settings, buckets, say)
    told = trainer.train()
    return trainer.averaged.eval(), told
