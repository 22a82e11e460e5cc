"""Damage small input files of every kind at random, and check the response of the program.

    python tools/fuzz_inputs.py                          20 faults of every kind
    python tools/fuzz_inputs.py --faults 200             the whole search, an hour or two
    python tools/fuzz_inputs.py --kind card --seed 17    one fault again, its folder is kept

Fails where a damaged file ends in a traceback, a signal, a hang of more than 10 s, more than 1 GiB
of memory, several lines instead of one sentence, or if a damaged result of molexa is accepted with
changed values. Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from tests.fakes.fuzzing import Fault, Tally, Trial  # noqa: E402
from tests.fakes.inputs import kinds  # noqa: E402


def search(name: str, seeds: Iterable[int], folder: str) -> Tally:
    """Every fault of a kind."""
    trial, tally = Trial(kinds()[name], Path(folder) / name), Tally()
    for seed in seeds:
        tally.add(trial.run(seed))
    return tally


def shown(fault: Fault) -> str:
    """A fault in a few lines."""
    return (
        f"  {fault.kind} --seed {fault.seed}: {fault.verdict} ({fault.damage}; molexa "
        f"{fault.command}; {fault.seconds:.1f} s, {fault.mebibytes:.0f} MiB)\n"
        + "\n".join(f"      {line[:200]}" for line in fault.said.strip().splitlines()[-4:])
    )


def main() -> int:
    """Run the search."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=20, help="of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--kind", action="append", choices=sorted(kinds()), help="only these")
    parser.add_argument("--seed", type=int, help="only the fault of this number")
    parser.add_argument("--jobs", type=int, default=1, help="kinds at a time")
    parser.add_argument("--json", type=Path, help="file for the results")
    given = parser.parse_args()
    names = given.kind or list(kinds())
    seeds = range(given.first, given.first + given.faults)
    if given.seed is not None:
        seeds = range(given.seed, given.seed + 1)
    folder = tempfile.mkdtemp(prefix="molexa-fuzz-")
    print(f"what went wrong is kept in {folder}", flush=True)
    tallies: dict[str, Tally] = {}
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("fork")) as pool:
        running = {name: pool.submit(search, name, seeds, folder) for name in names}
        for name, result in running.items():
            try:
                tally = tallies[name] = result.result()
            except Exception as error:  # noqa: BLE001 - of one kind; the others go on
                print(f"{name:16} NOT TRIED: {error}", flush=True)
                tallies[name] = Tally(bad=[Fault(name, -1, "none", "", "not tried", "", 0, 0)])
                continue
            counts = ", ".join(f"{key} {n}" for key, n in sorted(tally.verdicts.items()))
            print(f"{name:16} {counts}; most {tally.seconds:.1f} s", flush=True)
            for fault in tally.bad[:5]:
                print(shown(fault), flush=True)
    if given.json is not None:
        plain = {
            name: {"verdicts": tally.verdicts, "bad": [asdict(fault) for fault in tally.bad]}
            for name, tally in tallies.items()
        }
        given.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    bad = sum(len(tally.bad) for tally in tallies.values())
    print(f"{sum(sum(t.verdicts.values()) for t in tallies.values())} faults, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
