"""Make entries of the Monte-Carlo model, train its surrogate on them, and measure its errors.

Without an installation: numpy, scipy, torch, numba and safetensors are enough. On one GPU:

    python3 tools/train_surrogate.py OUT --make-s 170 --train-s 280 --test-s 25

Continued with new entries:

    python3 tools/train_surrogate.py OUT --seed 2 --start surrogate.safetensors ...

OUT gets `surrogate.safetensors` (all numbers of the networks), `metrics.json`, and entries of
molecules that were held out (`held-out.safetensors`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from safetensors.torch import load_file, save_file

from molexa_core.physics.mcmd.photon_tables import pack_photon_tables
from molexa_core.physics.surrogate.entries import FamilyEntries, concatenate
from molexa_core.pipeline.datasets.family_entries import (
    FamilyRecipe,
    exact_recipe,
    family_blocks,
    small_recipe,
)
from molexa_core.pipeline.evaluation.surrogate_errors import as_text, entry_errors, error_table
from molexa_core.pipeline.training.surrogate import (
    SurrogateTraining,
    new_network,
    train_surrogate,
)

MOST_KEPT = 24_000
BEGAN = time.monotonic()


def say(text: str) -> None:
    """One line with the time."""
    print(f"[{time.monotonic() - BEGAN:6.1f} s] {text}", flush=True)


def made(recipe: FamilyRecipe, seconds: float, device: str) -> Iterator[FamilyEntries]:
    """Blocks for so many seconds."""
    began = told = time.monotonic()
    entries = geometries = 0
    for block in family_blocks(recipe, device=device):
        if len(block):
            entries += len(block)
            geometries += len(torch.unique(block.geometry))
            yield block
        now = time.monotonic()
        if now - told > 15.0 or now - began > seconds:
            told = now
            say(f"{recipe.split}: {entries} entries of {geometries} geometries")
        if now - began > seconds:
            return


def to_learn(
    recipe: FamilyRecipe, seconds: float, device: str, few: float
) -> Iterator[FamilyEntries]:
    """Blocks for a training, a share of them with a quarter of the explosions of each geometry.

    Four geometries teach more than one that is known twice as well.
    """
    quarter = replace(
        recipe,
        seed=recipe.seed + 500,
        trajectories={n: max(count // 4, 512) for n, count in recipe.trajectories.items()},
    )
    yield from made(recipe, (1.0 - few) * seconds, device)
    if few > 0.0:
        yield from made(quarter, few * seconds, device)


def main() -> None:
    """Make, train, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--make-s", type=float, default=170.0)
    parser.add_argument("--train-s", type=float, default=280.0)
    parser.add_argument("--test-s", type=float, default=25.0)
    parser.add_argument("--few", type=float, default=0.7, help="share with few explosions each")
    parser.add_argument("--error-s", type=float, default=30.0)
    parser.add_argument("--entries", type=Path, nargs="*", help="entries instead of new ones")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=SurrogateTraining.rate)
    parser.add_argument("--batch", type=int, default=SurrogateTraining.batch)
    parser.add_argument("--start", type=Path, help="weights to begin with")
    parser.add_argument("--small", action="store_true", help="few explosions, for a processor")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = True
    sys.setswitchinterval(2e-4)
    say(f"tables of {len(pack_photon_tables().photon_ev)} photon energies")
    recipe = small_recipe(given.seed) if given.small else FamilyRecipe(seed=given.seed)
    exact = exact_recipe()
    if given.small:
        exact = replace(small_recipe(given.seed), split="held-out")
    how = SurrogateTraining(
        seconds=given.train_s,
        error_seconds=given.error_s,
        rate=given.rate,
        batch=given.batch,
        seed=given.seed,
        least_count=recipe.least_count,
    )
    start = None
    if given.start:
        start = new_network(how, given.device)
        start.load_state_dict(load_file(given.start, device=given.device))
    network, told = train_surrogate(
        map(FamilyEntries.load, given.entries)
        if given.entries
        else to_learn(recipe, given.make_s, given.device, given.few),
        how,
        device=given.device,
        start=start,
        say=say,
    )
    state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(state, given.out / "surrogate.safetensors")
    say(f"trained: {told}")
    held_out = replace(exact, seed=given.seed + 2000)
    clusters = replace(recipe, seed=given.seed + 4000, random_share=1.0)
    ordinary = replace(recipe, split="held-out", seed=given.seed + 3000, random_share=0.0)
    sets = {
        "seen molecules, new geometries": (replace(held_out, split="train"), 1.0),
        "molecules never seen": (held_out, 1.0),
        "ordinary entries, molecules never seen": (ordinary, 0.25),
        "random clusters": (clusters, 0.25),
    }
    metrics = {}
    for name, (of, share) in sets.items() if given.test_s > 0.0 else ():
        blocks = made(of, share * given.test_s, given.device)
        entries = concatenate([block.to("cpu") for block in blocks])
        metrics[name] = error_table(entry_errors(network, entries, given.device))
        print(f"\n{name}\n{as_text(metrics[name])}", flush=True)
        kept = torch.randperm(len(entries))[:MOST_KEPT]
        entries.select(kept).save(
            given.out / f"{name.replace(', ', '-').replace(' ', '-')}.safetensors"
        )
    document = {"training": told, "settings": asdict(how), "errors": metrics}
    (given.out / "metrics.json").write_text(json.dumps(document, indent=1))
    say("done")


if __name__ == "__main__":
    main()
