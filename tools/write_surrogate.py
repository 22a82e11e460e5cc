"""Write the surrogate that ships: weights of a training, factors of its errors, and its card.

The factors come from entries of random clusters and of molecules in geometries that no training
saw; the errors on the card from molecules that no training saw at all.

    python tools/write_surrogate.py TRAINED.safetensors --factors CLUSTERS SEEN --held-out UNSEEN
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from molexa_core.physics.mcmd.photon_tables import PHOTON_GRID_EV
from molexa_core.physics.surrogate.charge_network import SurrogateNetwork
from molexa_core.physics.surrogate.entries import FamilyEntries, concatenate
from molexa_core.physics.surrogate.surrogate_card import SurrogateCard, save_surrogate
from molexa_core.physics.surrogate.xray_family import HIGH, LOW
from molexa_core.pipeline.evaluation.surrogate_errors import (
    EntryErrors,
    as_text,
    entry_errors,
    error_table,
)
from molexa_core.pipeline.training.surrogate import MOMENTA, YIELDS

ROOT = Path(__file__).resolve().parent.parent
LIMITS = (
    "Ions of H, C, N, O, F, Si, P, S and Cl, 2 to 9 atoms, all charged. Molecules at rest; means "
    "over vibrating molecules are means of means. It knows the Monte-Carlo model, not nature: the "
    "errors are those against that model. Between the photon energies of the training, just above "
    "the K edge of an atom, momenta are off by some per cent and yields by factors. Channels in "
    "which almost all charges are 1 are known "
    "worst (3 to 5 %)."
)


def both_widths(pulls: np.ndarray) -> float:
    """Geometric mean of the 68 % width and the rms of pulls, the latter without the last 1 %."""
    sizes = np.abs(pulls[np.isfinite(pulls)])
    rms = np.sqrt((sizes[sizes <= np.quantile(sizes, 0.99)] ** 2).mean())
    return float(np.sqrt(np.quantile(sizes, 0.683) * rms))


def known(errors: EntryErrors) -> EntryErrors:
    """Entries whose difference from the surrogate is that of the surrogate."""
    return errors.select(errors.statistical < 0.25 * np.maximum(errors.claimed, 1e-3))


def main() -> None:
    """Find the factors, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("trained", type=Path)
    parser.add_argument("--factors", type=Path, nargs="+", required=True)
    parser.add_argument("--held-out", type=Path, nargs="+", required=True)
    parser.add_argument("--name", default="molexa-xray")
    parser.add_argument("--training", type=Path, help="JSON about the training, for the card")
    parser.add_argument("--out", type=Path, default=ROOT / "weights")
    given = parser.parse_args()
    torch.set_num_threads(1)
    network = SurrogateNetwork(MOMENTA, YIELDS)
    state = load_file(given.trained)
    tables = {name for name, _ in network.named_buffers()}
    network.load_state_dict({k: v if k in tables else v.half().float() for k, v in state.items()})
    network.eval()
    entries = concatenate([FamilyEntries.load(path) for path in given.factors])
    found = known(entry_errors(network, entries, "cpu"))
    factor = both_widths(found.scale_pull)
    frequent = found.count >= 300.0
    of_yields = both_widths((found.share_off / found.share_error)[frequent])
    print(f"factors {factor:.3f} and {of_yields:.3f} from {len(found.error)} entries")
    metrics: dict[str, Any] = {}
    for path in given.held_out:
        errors = entry_errors(network, FamilyEntries.load(path), "cpu", factor, of_yields)
        metrics[path.stem] = error_table(errors)
        print(f"\n{path.stem}\n{as_text(metrics[path.stem])}")
    training = json.loads(given.training.read_text()) if given.training else {}
    card = SurrogateCard(
        name=given.name,
        momenta=MOMENTA,
        yields=YIELDS,
        file="",
        sha256="",
        error_factor=round(factor, 4),
        yield_error_factor=round(of_yields, 4),
        photon_ev=PHOTON_GRID_EV,
        data={
            "kind": "entries of the Monte-Carlo model over its family of pulses and switches",
            "coordinates low": LOW.round(4).tolist(),
            "coordinates high": HIGH.round(4).tolist(),
        },
        training=training | {"sizes": {"momenta": asdict(MOMENTA), "yields": asdict(YIELDS)}},
        metrics=metrics,
        limits=LIMITS,
    )
    written = save_surrogate(given.out, card, network)
    print(f"written: {given.out / written.file}")


if __name__ == "__main__":
    main()
