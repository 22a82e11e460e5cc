"""Errors of the surrogate of the Monte-Carlo model, and whether it knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from molexa_core.base.tables import FloatArray
from molexa_core.physics.mcmd.trajectories import available_cores
from molexa_core.physics.surrogate.charge_network import (
    SurrogateNetwork,
    impulses,
    log_distances,
)
from molexa_core.physics.surrogate.entries import FamilyEntries
from molexa_core.pipeline.training.surrogate import (
    LEAST_ERROR,
    Bucket,
    buckets_of,
    error_factors_of,
    predict,
)

WELL_KNOWN: Final = 0.003
"""Relative statistical error up to which an entry shows the error of the surrogate."""
_ROWS: Final = 4096


@dataclass(frozen=True)
class EntryErrors:
    """Errors of single entries. M entries.

    Attributes:
        atoms: [M].
        duration_fs: [M].
        settings: [M, 9].
        molecule: [M].
        count: [M].
        error: [M] rms difference of the momenta over the rms momentum.
        statistical: [M] rms standard error of the entry over the rms momentum.
        claimed: [M] rms predicted error over the rms momentum.
        scale_pull: [M] difference in the rms momentum over its predicted error, all included.
        radial_pulls: [A] of every atom along its momentum.
        share_off: [M] ln of the predicted share less that of the entry.
        share_error: [M] its predicted error, with that of the counting.
    """

    atoms: NDArray[np.int64]
    duration_fs: FloatArray
    settings: FloatArray
    molecule: NDArray[np.int64]
    count: FloatArray
    error: FloatArray
    statistical: FloatArray
    claimed: FloatArray
    scale_pull: FloatArray
    radial_pulls: FloatArray
    share_off: FloatArray
    share_error: FloatArray

    def select(self, which: NDArray[np.bool_]) -> EntryErrors:
        """Some entries; the pulls of all atoms stay."""
        values = {
            name: value if name == "radial_pulls" else value[which]
            for name, value in vars(self).items()
        }
        return EntryErrors(**values)


def entry_errors(
    network: SurrogateNetwork,
    entries: FamilyEntries,
    device: torch.device | str,
    factor: float = 1.0,
    yield_factor: float = 1.0,
) -> EntryErrors:
    """Compare the surrogate with entries; the explosions are not linearised.

    Args:
        network: the networks.
        entries: of the Monte-Carlo model.
        device: of the computation.
        factor: of the predicted errors of the momenta.
        yield_factor: of those of the yields.
    """
    parts: list[dict[str, Any]] = []
    for n, bucket in buckets_of(entries, device).items():
        bucket.refresh(network, available_cores())
        starts = range(0, len(bucket), _ROWS)
        factors = factor, yield_factor
        parts += [
            _of_bucket(network, bucket.rows(slice(at, at + _ROWS)), n, *factors) for at in starts
        ]
    return EntryErrors(
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    )


@torch.no_grad()
def _of_bucket(
    network: SurrogateNetwork, bucket: Bucket, n: int, factor: float, yield_factor: float
) -> dict[str, Any]:
    found = predict(network, bucket)
    added = impulses(found.impulse, bucket.positions, bucket.charges, bucket.masses)
    momenta = bucket.base + added
    off = momenta - bucket.momenta
    scale = bucket.scale
    factors = factor * error_factors_of(network, bucket, found)
    m, size = len(bucket), 3 * n
    covariance = factors @ factors.transpose(1, 2)
    covariance = covariance + torch.eye(size, device=off.device) * (
        (LEAST_ERROR * scale) ** 2
    ).reshape(m, 1, 1)
    whole = covariance + torch.diag_embed(bucket.errors.square().reshape(m, size))
    radial = momenta / momenta.norm(dim=2, keepdim=True).clamp_min(1e-9)
    along = torch.zeros(m, n, size, device=off.device)
    for atom in range(n):
        along[:, atom, 3 * atom : 3 * atom + 3] = radial[:, atom]
    sigma = torch.einsum("mai,mij,maj->ma", along, whole, along).sqrt()
    pulls = (off * radial).sum(-1) / sigma
    direction = momenta.reshape(m, size) / momenta.square().sum((1, 2)).sqrt()[:, None]
    spread = torch.einsum("mi,mij,mj->m", direction, whole, direction).sqrt()
    scale_pull = (off.reshape(m, size) * direction).sum(1) / spread
    model = network.yields
    encoded = model.encode(bucket.elements, bucket.charges, bucket.settings)
    of_yield = model(encoded, log_distances(bucket.positions))
    log_share, _ = network.shares(of_yield)
    share_error = yield_factor * network.share_errors(of_yield).exp()
    share_error = (share_error.square() + 1.0 / bucket.count).sqrt()
    values = {
        "atoms": torch.full((m,), n),
        "duration_fs": bucket.settings[:, 2].exp(),
        "settings": bucket.settings,
        "molecule": bucket.molecule,
        "count": bucket.count,
        "error": off.square().mean((1, 2)).sqrt() / scale,
        "statistical": bucket.errors.square().mean((1, 2)).sqrt() / scale,
        "claimed": (covariance.diagonal(dim1=1, dim2=2).mean(1)).sqrt() / scale,
        "scale_pull": scale_pull,
        "radial_pulls": pulls.reshape(-1),
        "share_off": log_share - (bucket.count / bucket.trajectories).log(),
        "share_error": share_error,
    }
    return {name: value.cpu().numpy() for name, value in values.items()}


def summary(errors: EntryErrors) -> dict[str, Any]:
    """Medians and pulls, as JSON."""
    if not len(errors.error):
        return {"entries": 0}
    good = errors.statistical <= WELL_KNOWN

    def per_cent(values: FloatArray, share: float) -> float | None:
        return round(100.0 * float(np.quantile(values, share)), 3) if len(values) else None

    def width(values: FloatArray) -> float:
        return round(float(np.quantile(np.abs(values), 0.683)), 3)

    return {
        "entries": len(errors.error),
        "median %": per_cent(errors.error, 0.5),
        "90 %": per_cent(errors.error, 0.9),
        "statistical %": per_cent(errors.statistical, 0.5),
        "well known": int(good.sum()),
        "median % of well known": per_cent(errors.error[good], 0.5),
        "90 % of well known": per_cent(errors.error[good], 0.9),
        "claimed % of well known": per_cent(errors.claimed[good], 0.5),
        "pull of the scale": width(errors.scale_pull),
        "rms pull of the scale": round(float(np.sqrt((errors.scale_pull**2).mean())), 3),
        "ln yield off, median": round(float(np.median(np.abs(errors.share_off))), 3),
        "pull of the yield": width(errors.share_off / errors.share_error),
    }


def error_table(errors: EntryErrors) -> dict[str, dict[str, Any]]:
    """Summaries over all entries, by number of atoms, duration, charge and setting."""
    rows: dict[str, dict[str, Any]] = {"all": summary(errors)}
    rows["all"]["pull of atoms"] = round(float(np.quantile(np.abs(errors.radial_pulls), 0.683)), 3)
    rows["all"]["rms pull of atoms"] = round(float(np.sqrt((errors.radial_pulls**2).mean())), 3)
    for n in sorted(set(errors.atoms.tolist())):
        rows[f"{n} atoms"] = summary(errors.select(errors.atoms == n))
    for low, high in ((1.0, 3.0), (3.0, 10.0), (10.0, 25.0), (25.0, 61.0)):
        chosen = (errors.duration_fs >= low * 0.999) & (errors.duration_fs < high)
        rows[f"{low:g}-{high:g} fs"] = summary(errors.select(chosen))
    for place, rule in enumerate(("neutral", "low", "full")):
        rows[f"rule {rule}"] = summary(errors.select(errors.settings[:, 3] == place))
    for place, focus in enumerate(("axis", "volume")):
        rows[f"focus {focus}"] = summary(errors.select(errors.settings[:, 8] == place))
    for low, high in ((300, 700), (700, 1800), (1800, 3000), (3000, 10_001)):
        energy = np.exp(errors.settings[:, 0])
        chosen = (energy > low * 0.999) & (energy <= high)
        rows[f"{low}-{high} eV"] = summary(errors.select(chosen))
    return rows


def as_text(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The table for a terminal."""
    names = (
        "entries",
        "median %",
        "90 %",
        "statistical %",
        "well known",
        "median % of well known",
        "90 % of well known",
        "claimed % of well known",
        "pull of the scale",
        "rms pull of the scale",
        "ln yield off, median",
        "pull of the yield",
    )
    lines = [f"{'':16}" + " | ".join(names)]
    for label, row in rows.items():
        lines.append(f"{label:16}" + " | ".join(str(row.get(name, "")) for name in names))
        if "pull of atoms" in row:
            lines.append(
                f"{'':16}pull of atoms {row['pull of atoms']}, rms {row['rms pull of atoms']}"
            )
    return "\n".join(lines)
