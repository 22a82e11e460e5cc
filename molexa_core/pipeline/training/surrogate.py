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
from dataclasses import dataclass
from typing import Any, Final, Literal

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
YIELDS: Final = NetworkSize(width=96, layers=3, pair=64, channels=24, hidden=64)
REFRESH_AT: Final = (0.002, 0.006, 0.012, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 0.75)
"""When momenta are linearised anew, as shares of the training."""
OFTEN: Final = 0.008
"""Relative statistical error from which on entries are drawn less often."""
_CHUNK: Final = 2048
_AT_ONCE: Final = 16384


@dataclass(frozen=True)
class SurrogateTraining:
    """How to train.

    Attributes:
        seconds: length of the training.
        most_steps: of the momenta, where the training ends before its time.
        rate: largest learning rate.
        batch: entries of five atoms per step; fewer of larger ones.
        warm_up: steps until the rate is reached.
        error_seconds: of these, for the estimates of the errors at the end.
        average: of the moving average of the weights.
        decay: weight decay.
        least_count: smallest count of an entry that the generator gives, see `mixed_entries`.
        seed: of the draws.
        momenta, yields: sizes of the networks.
    """

    seconds: float
    most_steps: int = 10**9
    error_seconds: float = 30.0
    rate: float = 2e-3
    batch: int = 4096
    warm_up: int = 500
    average: float = 0.9995
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
        # In place: recorded steps read these tensors.
        bucket.tau.copy_(self.log_tau)
        bucket.middle.copy_(self.middle)
        bucket.base.copy_(exploded)
        bucket.by_rises.copy_(torch.from_numpy(changes))
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
            tau=zero.clone(),
            middle=zero.clone(),
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


@torch.no_grad()
def well_known_errors(network: SurrogateNetwork, bucket: Bucket) -> str:
    """Median relative error of entries known to 0.3 %, for a log: those taught / those aside."""
    known = bucket.errors.square().mean(dim=(1, 2)).sqrt() <= 0.003 * bucket.scale
    shown = []
    for aside in (False, True):
        rows = torch.nonzero(known & (bucket.aside == aside))[:4000, 0]
        if len(rows):
            some = bucket.rows(rows)
            off = total_momenta(some, predict(network, some)) - some.momenta
            error = off.square().mean(dim=(1, 2)).sqrt() / some.scale
            shown.append(f"{100.0 * float(error.median()):.2f}")
    return "/".join(shown)


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
    scale = bucket.scale
    factors = error_factors_of(network, bucket, found)
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


def predict_yields(network: SurrogateNetwork, bucket: Bucket) -> Predicted:
    """State of the network of the yields for entries."""
    model = network.yields
    encoded = model.encode(bucket.elements, bucket.charges, bucket.settings)
    found: Predicted = model(encoded, log_distances(bucket.positions))
    return found


def yield_loss(network: SurrogateNetwork, bucket: Bucket, found: Predicted, least: int) -> Tensor:
    """Misfit of shares and spreads."""
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
    loss: Tensor = (fit + 0.5 * spread).mean()
    return loss


def yield_error_loss(network: SurrogateNetwork, bucket: Bucket, found: Predicted) -> Tensor:
    """Negative logarithm of the likelihood of the yields, with their predicted error."""
    with torch.no_grad():
        log_share, _ = network.shares(found)
    off = (log_share - (bucket.count / bucket.trajectories).log()).square()
    variance = (2.0 * network.share_errors(found)).exp() + 1.0 / bucket.count
    loss: Tensor = (2.5 * torch.log1p(off / (4.0 * variance)) + 0.5 * variance.log()).mean()
    return loss


Part = Literal["momenta", "yields"]
_PARTS: Final[dict[Part, tuple[str, ...]]] = {
    "momenta": ("momenta.",),
    "yields": ("yields.", "shares."),
}


class Trainer:
    """A training in progress.

    On a GPU each step is recorded once for every number of atoms and replayed: the networks are so
    small that starting their hundreds of kernels one by one would take longer than computing.

    Args:
        network: to be trained.
        settings: how.
        buckets: entries by number of atoms.
        say: what is told as it goes.
    """

    def __init__(
        self,
        network: SurrogateNetwork,
        settings: SurrogateTraining,
        buckets: dict[int, Bucket],
        say: Callable[[str], None],
    ) -> None:
        self.network, self.averaged = network, deepcopy(network)
        self.settings, self.buckets, self.say = settings, buckets, say
        self.device = next(network.parameters()).device
        self.sizes = sorted(buckets)
        self.taught = {n: torch.nonzero(~buckets[n].aside)[:, 0] for n in self.sizes}
        self.aside = {n: torch.nonzero(buckets[n].aside)[:, 0] for n in self.sizes}
        self.rate = torch.zeros((), device=self.device)
        graphed = self.device.type == "cuda"
        averaged = dict(self.averaged.named_parameters())
        self.values: dict[Part, list[Tensor]] = {}
        self.kept: dict[Part, list[Tensor]] = {}
        self.optimizers = {}
        for part, names in _PARTS.items():
            mine = [(k, v) for k, v in network.named_parameters() if k.startswith(names)]
            self.values[part] = [value for _, value in mine]
            self.kept[part] = [averaged[name] for name, _ in mine]
            self.optimizers[part] = torch.optim.AdamW(
                self.values[part],
                lr=self.rate if graphed else settings.rate,
                weight_decay=settings.decay,
                betas=(0.9, 0.99),
                capturable=graphed,
                fused=graphed,
            )
        self.losses = torch.zeros(2, 2, device=self.device)
        self.graphs: dict[tuple[Part, int], torch.cuda.CUDAGraph] = {}
        self.chances = {n: self._chances(n) for n in self.sizes}
        self.rows = {n: self._draw(n) for n in self.sizes}

    def train(self) -> dict[str, Any]:
        """Train for the given time.

        Returns:
            Losses and counts, for the description of the weights.
        """
        how, workers = self.settings, available_cores()
        self._refresh(self.network, workers)
        if self.device.type == "cuda":
            self._record()
        told = self._train_means(how.seconds - how.error_seconds, workers)
        self._refresh(self.averaged, workers)
        self._train_errors(how.error_seconds)
        return told

    def _train_means(self, seconds: float, workers: int) -> dict[str, Any]:
        how, sizes = self.settings, [n for n in self.sizes if len(self.taught[n])]
        random = np.random.default_rng(how.seed)
        share = np.array([len(self.buckets[n]) for n in sizes], float)
        share /= share.sum()
        pool = ThreadPoolExecutor(max(workers - 2, 1))
        began = said = time.monotonic()
        step, visits, due, queue = 0, 0, list(REFRESH_AT), list[int]()
        current: Linearisation | None = None
        off: dict[int, str] = {}
        while (done := max((time.monotonic() - began) / seconds, step / how.most_steps)) < 1.0:
            if current is not None and current.done:
                current.install()
                off[current.bucket.atoms] = well_known_errors(self.network, current.bucket)
                current = None
            if current is None and due and done >= due[0] and not queue:
                due.pop(0)
                queue = list(self.sizes)
            if current is None and queue:
                current = Linearisation(self.buckets[queue.pop(0)], self.network, pool)
            rate = how.rate * min(1.0, (step + 1) / how.warm_up)
            rate *= 0.5 * (1.0 + math.cos(math.pi * done)) + 1e-3
            for n in random.choice(sizes, p=share, size=8).tolist():
                self._step("momenta", n, rate)
                visits += len(self.rows[n])
                step += 1
            for n in random.choice(sizes, p=share, size=3).tolist():
                self._step("yields", n, rate)
            if time.monotonic() - said > 10.0:
                said = time.monotonic()
                means = (self.losses[:, 0] / self.losses[:, 1].clamp_min(1.0)).tolist()
                self.losses.zero_()
                lines = "; ".join(f"{k}: {v}" for k, v in sorted(off.items()))
                self.say(
                    f"{said - began:4.0f} s, step {step}, {visits / 1e6:.1f} M visits: momenta "
                    f"{means[0]:.4f}, yields {means[1]:.4f}; errors in % {lines}"
                )
        pool.shutdown(wait=True, cancel_futures=True)
        return {"steps": step, "visits": visits, "entries": sum(map(len, self.buckets.values()))}

    def _step(self, part: Part, n: int, rate: float) -> None:
        rows = self._draw(n)
        if (part, n) not in self.graphs:
            self.rows[n] = rows
            for group in self.optimizers[part].param_groups:
                group["lr"] = rate
            self._learn(part, n)
            return
        self.rows[n].copy_(rows)
        self.rate.fill_(rate)
        self.graphs[part, n].replay()

    def _learn(self, part: Part, n: int) -> None:
        """One step on the entries `rows`, all on the device."""
        optimizer, values = self.optimizers[part], self.values[part]
        optimizer.zero_grad(set_to_none=False)
        some = self.buckets[n].rows(self.rows[n])
        if part == "momenta":
            loss = momentum_loss(some, predict(self.network, some))
        else:
            found = predict_yields(self.network, some)
            loss = yield_loss(self.network, some, found, self.settings.least_count)
        loss.backward()  # type: ignore[no-untyped-call]
        for value in values:  # one entry out of place must not end a training
            if value.grad is not None:
                value.grad.nan_to_num_(0.0, 0.0, 0.0)
        nn.utils.clip_grad_norm_(values, 1.0, foreach=True)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.kept[part], values, 1.0 - self.settings.average)
            self.losses[list(_PARTS).index(part)] += torch.stack([loss, torch.ones_like(loss)])

    def _record(self) -> None:
        """Record one step of each part for each number of atoms."""
        began = time.monotonic()
        side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self.device))
        self.rate.fill_(1e-6)
        pool = None
        for n in self.sizes:
            for part in _PARTS:
                with torch.cuda.stream(side):
                    for _ in range(3):
                        self._learn(part, n)
                torch.cuda.current_stream(self.device).wait_stream(side)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                    self._learn(part, n)
                pool = graph.pool()
                self.graphs[part, n] = graph
        with torch.no_grad():
            for part in _PARTS:
                for kept, ours in zip(self.kept[part], self.values[part], strict=True):
                    kept.copy_(ours)
        self.losses.zero_()
        torch.cuda.synchronize(self.device)
        self.say(f"steps recorded in {time.monotonic() - began:.1f} s")

    def _train_errors(self, seconds: float) -> None:
        """Teach the heads of the errors, on entries set aside, with everything else at its end."""
        network = self.averaged
        heads = [network.uncertainty, network.share_errors]
        values = [value for head in heads for value in head.parameters()]
        optimizer = torch.optim.AdamW(values, lr=2e-3, weight_decay=0.01)
        sizes = [n for n in self.sizes if len(self.aside[n])]
        share = np.array([len(self.aside[n]) for n in sizes], float)
        random = np.random.default_rng(self.settings.seed + 1)
        began = said = time.monotonic()
        sums: list[Tensor] = []
        while sizes and (done := (time.monotonic() - began) / seconds) < 1.0:
            if len(sums) >= self.settings.most_steps:
                break
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * (0.5 * (1.0 + math.cos(math.pi * done)) + 1e-3)
            n = int(random.choice(sizes, p=share / share.sum()))
            rows = self.aside[n]
            size = max(32, self._batch(n) // 2)
            some = self.buckets[n].rows(rows[torch.randint(len(rows), (size,), device=rows.device)])
            with torch.no_grad():
                momenta, yields = predict(network, some), predict_yields(network, some)
            first = uncertainty_loss(network, some, momenta)
            second = yield_error_loss(network, some, yields)
            optimizer.zero_grad(set_to_none=True)
            (first + second).backward()  # type: ignore[no-untyped-call]
            for value in values:
                if value.grad is not None:
                    value.grad.nan_to_num_(0.0, 0.0, 0.0)
            nn.utils.clip_grad_norm_(values, 1.0)
            optimizer.step()
            sums.append(torch.stack([first.detach(), second.detach()]))
            if time.monotonic() - said > 10.0 or done > 0.98:
                said = time.monotonic()
                one, two = torch.stack(sums).mean(0).tolist()
                self.say(f"errors, {len(sums)} steps: momenta {one:.4f}, yields {two:.4f}")
                sums.clear()

    def _refresh(self, network: SurrogateNetwork, workers: int) -> None:
        began = time.monotonic()
        off = {n: bucket.refresh(network, workers) for n, bucket in self.buckets.items()}
        text = " ".join(f"{n}: {value * 100:.2f}%" for n, value in off.items())
        self.say(f"linearised in {time.monotonic() - began:.1f} s; had been off by {text}")

    def _batch(self, n: int) -> int:
        return max(32, self.settings.batch * 30 // (5 + n * n))

    def _chances(self, n: int) -> Tensor:
        """Cumulative chances of the entries that teach: what is hardly known is seldom drawn."""
        bucket, rows = self.buckets[n], self.taught[n]
        known = bucket.errors[rows].square().mean(dim=(1, 2)).sqrt() / bucket.scale[rows]
        chance = 1.0 / (1.0 + (known / OFTEN).square()).sqrt()
        return (chance.double().cumsum(0) / chance.double().sum()).clamp_max(1.0)

    def _draw(self, n: int) -> Tensor:
        rows, chances = self.taught[n], self.chances[n]
        place = torch.rand(self._batch(n), device=rows.device, dtype=torch.float64)
        return rows[torch.searchsorted(chances, place).clamp_max(len(rows) - 1)]


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
    trainer = Trainer(network, settings, buckets, say)
    told = trainer.train()
    return trainer.averaged.eval(), told
