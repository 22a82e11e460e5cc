"""How many hits per second does `molexa reduce` process? Compared with only reading the columns.

End to end: from the ROOT file to the finished events file, both passes, spectra and provenance
included; after the start of the process and the compilation of the inner loops. Without event
mixing, whose cost stands beside the results of `false_coincidences.py`.
"""

from __future__ import annotations

import os
import resource
import tempfile
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import uproot
import yaml
from _record import store, time_runs

from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.mock import default_setup, mock

SHOTS = 200_000
SLOTS = 16
SEED = 5
REPEATS = 7
CHUNK = 50_000
VIRTUAL = {"molecules_per_shot": 2.0, "dark_counts_per_shot": 0.7, "explosion": "instant"}


def make_run(folder: Path) -> Path:
    """A virtual water run with about four hits per shot in the flat layout."""
    setup = default_setup().model_dump(mode="json")
    setup["virtual"] |= VIRTUAL
    setup["detector"]["slots"] = SLOTS
    (folder / "setup.yaml").write_text(yaml.safe_dump(setup), encoding="utf-8")
    mock("water", SHOTS, out=folder / "run.root", setup=folder / "setup.yaml", seed=SEED)
    return folder / "run.root"


def read_only(path: Path) -> None:
    """Read the number of hits, x, y and time of flight of all slots with uproot."""
    names = ["rhit", *(f"r{i}{q}" for i in range(1, SLOTS + 1) for q in ("x", "y", "tof"))]
    with uproot.open(path, array_cache=None, object_cache=None) as file:
        for start in range(0, SHOTS, CHUNK):
            stop = min(start + CHUNK, SHOTS)
            file["Data"].arrays(names, entry_start=start, entry_stop=stop, library="np")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = make_run(folder)
        out = folder / "run.events.h5"
        summary = reduce([path], mixing=False, out=out).summary
        purity = 0.0 if summary.purity is None else summary.purity.purity
        runs = time_runs(lambda: reduce([path], out=out, mixing=False), repeats=REPEATS, warm_up=1)
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        baseline = time_runs(lambda: read_only(path), repeats=REPEATS, warm_up=1)
        store(
            "reduce_speed",
            "How many hits per second does `molexa reduce` work off?",
            runs,
            amount=summary.hits,
            unit="hits",
            sizes={
                "shots": SHOTS,
                "slots": SLOTS,
                "hits": summary.hits,
                "candidates": summary.combinations,
                "coincidences": summary.coincidences,
                "estimated_purity": round(purity, 4),
                "file_mib": round(path.stat().st_size / 2**20, 1),
                "seed": SEED,
            },
            baseline=("reading the same columns with uproot", baseline),
            notes=f"one core; the bar is 1e6 hits/s; largest memory of the process, making the run "
            f"included: {peak_mib:.0f} MiB; load average {os.getloadavg()[0]:.1f} on "
            f"{os.cpu_count()} cores",
        )
