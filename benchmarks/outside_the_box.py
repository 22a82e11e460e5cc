"""Are pulses beyond those of the training recognised, and how often is one inside called unlike?

    python benchmarks/outside_the_box.py --weights W --device cuda --out outside.json

The test in the card of the weights (`molexa weights recognise`) is asked about explosions by the
Monte-Carlo model: inside the box of the training (new explosions of its molecules, and of molecules
that it left out, and 10 keV, the highest photon energy of the training), pulses of 80 fs, a tenth
of the lowest fluence, and 15 keV. Printed: share called unlike, by what is told (photon
energy, fluence, duration). Bars: 95 % outside, 2 % inside.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from molexa_core.network.inference.conformity import CONFORMITY, Conformity
from molexa_core.network.weights import read_card
from molexa_core.physics.mcmd.photon_tables import PhotonTables, pack_photon_tables
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.evaluation.known_explosions import (
    FAMILY,
    HELD_OUT,
    Population,
    family_explosions,
)
from molexa_core.pipeline.evaluation.recognise_inputs import called_unlike, training_of

SEED: Final = 71_260_000
LONG_FS: Final = 80.0
WEAKER: Final = 0.1
HIGHEST_EV: Final = 10_000.0
BEYOND_EV: Final = 15_000.0
LIGHT: Final = ("H", "C", "N", "O", "F")
"""Elements of the molecules beyond: tables of heavier ones take minutes."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True, help="weights with the test in their card")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--largest", type=int, default=9)
    parser.add_argument("--trajectories", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    device = take_device(given.device)
    card, _ = read_card(given.weights)
    test = Conformity.from_dict(card.data[CONFORMITY])
    of = training_of(card)
    low = of.box.fluence_um2[0] * WEAKER
    long = (LONG_FS, 1.01 * LONG_FS)
    whole = pack_photon_tables()
    sets: dict[str, tuple[str, Population, int, PhotonTables]] = {
        "inside, molecules of the training": (FAMILY, of, given.largest, whole),
        "inside, new molecules": (HELD_OUT, of, given.largest, whole),
        "inside, 10 keV": (FAMILY, of, given.largest, pack_photon_tables((HIGHEST_EV,))),
        "80 fs": (FAMILY, replace(of, box=replace(of.box, duration_fs=long)), given.largest, whole),
        "a tenth of the lowest fluence": (
            FAMILY,
            # Larger molecules hardly ever lose an electron from every atom.
            replace(of, box=replace(of.box, fluence_um2=(low, 1.01 * low))),
            min(given.largest, 3),
            whole,
        ),
        "15 keV": (
            FAMILY,
            # Weak pulses hardly ever ionise every atom of a molecule at this energy.
            replace(of, elements=LIGHT),
            min(given.largest, 4),
            pack_photon_tables((BEYOND_EV,), LIGHT),
        ),
    }
    result: dict[str, Any] = {"weights": card.name, "files": card.files, "called_unlike": {}}
    print("told: photon energy, fluence, duration (1 if it is told)")
    for name, (kind, population, largest, tables) in sets.items():
        explosions = family_explosions(
            kind,
            given.cases,
            atoms=(2, largest),
            seed=SEED,
            device=device,
            trajectories=given.trajectories,
            population=population,
            tables=tables,
        )
        cases = sum(len(one) for one in explosions.values())
        rates = called_unlike(test, explosions) if cases else {}
        result["called_unlike"][name] = {"cases": cases, **rates}
        said = ", ".join(f"{told} {100 * rate:.1f} %" for told, rate in rates.items())
        print(f"{name} ({cases}): {said}", flush=True)
    if given.out is not None:
        given.out.write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
