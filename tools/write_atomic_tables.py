"""Write the tables of docs/atomic-physics.md: what the atomic model gives beside references.

Usage: python tools/write_atomic_tables.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from molexa_core.base.elements import ELEMENTS
from molexa_core.base.units import ATOMIC_TIME_FS, BOHR2_BARN, FINE_STRUCTURE, HARTREE_EV
from molexa_core.physics.atomic.configuration import Configuration, compute_configuration
from molexa_core.physics.atomic.scf import solve_orbitals
from molexa_core.physics.atomic.shells import NAMES, Occupation, ground_occupation, occupation_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "atomic-physics.md"
BEGIN, END = "<!-- measured -->\n", "<!-- end of measured -->"
ENERGIES = (600, 800, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 10000)
# Photoabsorption in barn per atom at these energies in eV, by xraydb 4.5.8.
ELAM = {
    "H": (60.591, 23.251, 11.409, 2.9317, 1.1109, 0.28057, 0.10529, 0.026267, 0.0098152, 0.0045576),
    "C": (168960, 79148, 44071, 13950, 6017.0, 1788.0, 742.7, 210.3, 84.591, 41.4),
    "N": (277930, 133600, 76992, 25150, 11070, 3367.1, 1418.0, 409.2, 166.71, 82.412),
    "O": (424290, 210650, 121900, 41109, 18429, 5738.9, 2452.0, 719.87, 296.7, 147.9),
    "F": (38683, 305290, 178200, 62370, 28500, 9073.1, 3931.0, 1174.0, 488.81, 245.5),
    "Ne": (60957, 28531, 248210, 89283, 41591, 13531, 5939.2, 1804.0, 758.63, 383.71),
    "Si": (253810, 123000, 73100, 24869, 129400, 45549, 21050, 6801.8, 2975.0, 1546.0),
    "P": (333770, 162630, 98241, 33550, 15410, 57410, 26880, 8818.9, 3892.1, 2037.0),
    "S": (436060, 213270, 129200, 44270, 20380, 71170, 33660, 11200, 4986.1, 2625.0),
    "Cl": (592380, 292620, 166500, 57360, 26460, 86580, 41330, 13960, 6269.0, 3321.0),
}
CHANTLER = {
    "H": (63.271, 24.402, 11.584, 2.9572, 1.1136, 0.27869, 0.10378, 0.025671, 0.0095092, 0.0043999),
    "C": (164860, 76330, 41332, 12817, 5523.6, 1686.2, 696.28, 198.14, 79.881, 39.064),
    "N": (280310, 133930, 73708, 23898, 10419, 3206.6, 1331.5, 385.63, 159.32, 78.377),
    "O": (417410, 208260, 117370, 38765, 17536, 5491.4, 2300.3, 674.64, 282.6, 142.19),
    "F": (34938, 301910, 174300, 59427, 27002, 8740.7, 3702.8, 1103.3, 467.45, 236.62),
    "Ne": (55398, 26667, 250470, 87772, 40111, 13193, 5706.1, 1714.2, 730.54, 371.1),
    "Si": (251870, 121250, 68393, 22468, 130830, 45237, 20612, 6561.8, 2914.2, 1500.0),
    "P": (341560, 164770, 92815, 30173, 13973, 57386, 26594, 8551.3, 3798.1, 1987.1),
    "S": (446510, 216960, 122410, 39699, 18310, 71239, 33249, 10961, 4885.0, 2579.7),
    "Cl": (569150, 279250, 158090, 51746, 23866, 87174, 41079, 13795, 6167.6, 3265.1),
}
# K edge, K width and K fluorescence yield of xraydb 4.5.8.
K_SHELL = {
    "C": (284.2, 0.0868, 0.0014),
    "N": (409.9, 0.1163, 0.0031),
    "O": (543.1, 0.1559, 0.0058),
    "F": (696.7, 0.2089, 0.0092),
    "Ne": (870.2, 0.24, 0.0160),
    "Si": (1839.0, 0.48, 0.0429),
    "P": (2145.5, 0.53, 0.0555),
    "S": (2472.0, 0.59, 0.0707),
    "Cl": (2822.0, 0.64, 0.0885),
}
# Ionization energies in eV, neutral atom first, NIST Atomic Spectra Database.
IONIZATION = {
    "C": (11.26, 24.38, 47.89, 64.49, 392.1, 490.0),
    "N": (14.53, 29.60, 47.45, 77.47, 97.89),
    "O": (13.62, 35.12, 54.94, 77.41, 113.9, 138.1),
    "F": (17.42, 34.97, 62.71, 87.14, 114.2, 157.2, 185.2),
    "Si": (8.15, 16.35, 33.49, 45.14, 166.8),
    "P": (10.49, 19.77, 30.20, 51.44, 65.03),
    "S": (10.36, 23.34, 34.79, 47.22, 72.59, 88.05, 280.9),
    "Cl": (12.97, 23.81, 39.61, 53.47, 67.8, 97.03, 114.2, 348.3, 400.1, 455.6),
}
# Lifetimes in fs of carbon from a program written separately for the same equations.
LIFETIMES: dict[Occupation, float] = {
    (1, 2, 2, 0, 0): 10.2,
    (0, 2, 2, 0, 0): 3.0,
    (1, 2, 1, 0, 0): 13.5,
    (1, 2, 0, 0, 0): 17.4,
    (1, 1, 2, 0, 0): 20.6,
    (1, 1, 1, 0, 0): 65.0,
}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def neutral(symbol: str, photon_ev: float) -> Configuration:
    """The neutral atom."""
    number = ELEMENTS[symbol].number
    return compute_configuration(number, ground_occupation(number), photon_ev / HARTREE_EV)


def cross_section_tables() -> Iterator[str]:
    """Cross sections at 2 keV by subshell, and totals at all energies."""
    totals = {
        symbol: [
            float(neutral(symbol, e).cross_section.sum()) * BOHR2_BARN for e in map(float, ENERGIES)
        ]
        for symbol in ELAM
    }
    at = ENERGIES.index(2000)
    rows = []
    for symbol, total in totals.items():
        parts = [f"{x * BOHR2_BARN:.4g}" for x in neutral(symbol, 2000.0).cross_section]
        ratios = [f"{total[at] / source[symbol][at]:.3f}" for source in (ELAM, CHANTLER)]
        rows.append([symbol, *parts, f"{total[at]:.5g}", *ratios])
    yield "\n### Cross sections at 2 keV, neutral atoms, barn\n\n"
    yield "Tolerance of the test: 1 % of Elam.\n\n"
    yield table(["", *NAMES, "total", "total / Elam", "total / Chantler"], rows)
    for name, source in (("Elam", ELAM), ("Chantler", CHANTLER)):
        yield f"\n### Cross sections at other energies, divided by {name}\n\n"
        rows = [
            [symbol, *(f"{x / y:.3f}" for x, y in zip(totals[symbol], source[symbol], strict=True))]
            for symbol in ELAM
        ]
        yield table(["eV", *map(str, ENERGIES)], rows)


def k_shell_table() -> Iterator[str]:
    """K edges, widths and yields."""
    rows = []
    for symbol, (edge, width, fluorescence) in K_SHELL.items():
        number = ELEMENTS[symbol].number
        ground = ground_occupation(number)
        binding = -solve_orbitals(number, ground).energy[0] * HARTREE_EV
        hole = compute_configuration(number, (1, *ground[1:]), 2000.0 / HARTREE_EV)
        auger, radiative = (
            sum(d.rate for d in hole.decays if (d.hole, d.kind) == (0, kind)) * HARTREE_EV
            for kind in ("auger", "fluorescence")
        )
        total = auger + radiative
        rows.append(
            [
                *(symbol, f"{binding:.1f}", f"{edge:.1f}", f"{binding / edge:.3f}"),
                *(f"{auger:.4f}", f"{total:.4f}", f"{width:.4f}", f"{total / width:.2f}"),
                *(f"{radiative / total:.4f}", f"{fluorescence:.4f}"),
                f"{radiative / total / fluorescence:.2f}",
            ]
        )
    yield "\n### K shell\n\n"
    yield table(
        [
            *("", "binding, eV", "edge", "ratio", "Auger width, eV", "width", "recommended"),
            *("ratio", "yield", "Elam", "ratio"),
        ],
        rows,
    )


def lifetime_table() -> Iterator[str]:
    """Lifetimes of carbon."""
    rows = []
    for occupation, expected in LIFETIMES.items():
        atom = compute_configuration(6, occupation, 2000.0 / HARTREE_EV)
        found = ATOMIC_TIME_FS / sum(decay.rate for decay in atom.decays)
        rows.append([occupation_text(occupation), f"{found:.2f}", f"{expected:.1f}"])
    yield "\n### Lifetimes of carbon, fs\n\nTolerance of the test: 1.5 %.\n\n"
    yield table(["configuration", "molexa", "separate program"], rows)


def ionization_table() -> Iterator[str]:
    """Successive ionization energies."""
    rows = []
    for symbol, measured in IONIZATION.items():
        number = ELEMENTS[symbol].number
        occupation, cells = list(ground_occupation(number)), []
        for value in measured:
            outer = max(index for index, count in enumerate(occupation) if count)
            energy = -solve_orbitals(number, tuple(occupation)).energy[outer] * HARTREE_EV
            cells.append(f"{energy:.1f} ({value:g})")
            occupation[outer] -= 1
        rows.append([symbol, ", ".join(cells)])
    yield "\n### Successive ionization energies, eV: molexa (NIST)\n\n"
    yield table(["", "from charge 0 on"], rows)


def one_electron_table() -> Iterator[str]:
    """One electron: errors against closed forms."""
    rows = []
    for charge in (1, 6, 17):
        energy = solve_orbitals(charge, (1, 0, 0, 0, 0)).energy[0]
        errors = []
        for excess in (1.03, 1.5, 4.0, 30.0):
            photon = excess * charge**2 / 2.0
            found = compute_configuration(charge, (1, 0, 0, 0, 0), photon).cross_section[0]
            nu = np.sqrt(1.0 / (excess - 1.0))
            fall = np.exp(-4.0 * nu * np.arctan(1.0 / nu)) / (1.0 - np.exp(-2.0 * np.pi * nu))
            exact = 2.0**9 * np.pi**2 / 3.0 * FINE_STRUCTURE / charge**2 * fall / excess**4
            errors.append(f"{found / exact - 1.0:.0e}")
        error = energy / (-(charge**2) / 2.0) - 1.0
        rows.append([str(charge), f"{energy:.9g}", f"{error:.0e}", *errors])
    yield "\n### One electron: 1s energy (hartree), and cross section against Stobbe\n\n"
    yield "Relative errors, at photon energies of 1.03, 1.5, 4 and 30 times the edge.\n\n"
    yield table(["Z", "energy", "error", "1.03", "1.5", "4", "30"], rows)


def render() -> str:
    """The section with all tables."""
    parts = (cross_section_tables, k_shell_table, lifetime_table, ionization_table)
    return "".join(text for part in (*parts, one_electron_table) for text in part())


if __name__ == "__main__":
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}{render()}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    print(f"wrote the tables of {PAGE.name}")
