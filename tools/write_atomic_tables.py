"""Write the tables of docs/atomic-physics-tables.md: the atomic model compared with references.

Usage: python tools/write_atomic_tables.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.units import ATOMIC_TIME_FS, BOHR2_BARN, FINE_STRUCTURE, HARTREE_EV
from molexa_core.physics.atomic.configuration import Configuration, compute_configuration, mesh_for
from molexa_core.physics.atomic.continuum import wave_mesh
from molexa_core.physics.atomic.energies import average_energy
from molexa_core.physics.atomic.scf import solve_orbitals
from molexa_core.physics.atomic.shells import (
    NAMES,
    SUBSHELLS,
    Occupation,
    ground_occupation,
    occupation_text,
)

PAGE = Path(__file__).resolve().parent.parent / "docs" / "atomic-physics-tables.md"
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
# Ionization energies in eV, neutral atom first, NIST Atomic Spectra Database as mendeleev 1.3.0 has
# them.
IONIZATION = {
    "C": (11.26, 24.38, 47.89, 64.49, 392.1, 490.0),
    "N": (14.53, 29.60, 47.45, 77.47, 97.89),
    "O": (13.62, 35.12, 54.94, 77.41, 113.9, 138.1),
    "F": (17.42, 34.97, 62.71, 87.14, 114.2, 157.2, 185.2),
    "Si": (8.15, 16.35, 33.49, 45.14, 166.8),
    "P": (10.49, 19.77, 30.20, 51.44, 65.03),
    "S": (10.36, 23.34, 34.86, 47.22, 72.59, 88.05, 280.9),
    "Cl": (12.97, 23.81, 39.80, 53.24, 67.68, 97.03, 114.2, 348.3, 400.9, 456.7),
}
IONIZATION_HEAVY = {
    "Br": (11.814, 21.591, 34.871, 47.782, 59.595, 87.39, 103.03, 192.61),
    "Kr": (14.0, 24.36, 35.84, 50.85, 64.69, 78.49, 109.13, 125.8, 233.0),
    "I": (10.451, 19.131, 29.570, 40.357, 51.52, 74.4, 87.61),
    "Xe": (12.13, 20.975, 31.05, 42.2, 54.1, 66.7, 91.6, 105.98, 179.8),
}
# Heavy atoms: photoabsorption in barn at these energies in eV by xraydb 4.5.8; edges in eV and
# widths in eV, averaged over spin-orbit partners with their weights, from the same.
ENERGIES_HEAVY = (800, 1000, 1300, 1500, 2000, 3000, 4000, 6000, 8000, 10000, 15000)
ELAM_HEAVY = {
    "Br": (*(566370, 347400, 185920, 132200, 451400, 162700, 76640, 25720, 11660, 6263.0, 14680),),
    "Kr": (*(661980, 396290, 212530, 151300, 500190, 181000, 85548, 28819, 13090, 7043.9, 16080),),
    "I": (
        *(2126800, 1915000, 1129500, 824200, 419200, 155000, 74831, 129200, 60821, 33660, 11210),
    ),
    "Xe": (
        *(2473200, 1939100, 1217900, 888820, 453510, 168210, 81322, 138000, 65352, 36231, 12100),
    ),
}
CHANTLER_HEAVY = {
    "Br": (*(523160, 317580, 163590, 114740, 437690, 159090, 73000, 24443, 11262, 5958.0, 14491),),
    "Kr": (*(598520, 362410, 185790, 130240, 485990, 177360, 82260, 27329, 12639, 6698.8, 16054),),
    "I": (
        *(2541100, 1857500, 1070400, 770730, 391350, 149320, 69465, 125920, 59887, 33019, 10770),
    ),
    "Xe": (
        *(2795100, 1963600, 1163100, 835820, 424360, 162250, 75927, 134580, 64442, 35634, 11615),
    ),
}
EDGES_HEAVY = {
    "Br": (13474.0, 1782.0, 1565.3, 257.0, 184.3, 69.4),
    "Kr": (14326.0, 1921.0, 1695.9, 292.8, 217.0, 94.3),
    "I": (33169.0, 5188.0, 4655.3, 1072.0, 893.7, 623.9, 186.0, 123.0, 49.6),
    "Xe": (34561.0, 5453.0, 4893.0, 1148.7, 961.1, 681.4, 213.2, 145.9, 68.3),
}
WIDTHS_HEAVY = {
    "Br": (2.52, 4.11, 1.12, 4.72, 2.28, 0.078),
    "Kr": (2.75, 4.28, 1.22, 5.50, 2.34, 0.090),
    "I": (10.6, 3.46, 3.14, 10.0, 5.08, 0.665, 4.34, 3.85, 0.118),
    "Xe": (11.4, 3.64, 3.22, 10.3, 5.35, 0.710, 4.81, 2.70, 0.108),
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
    photon = photon_ev / HARTREE_EV
    mesh = wave_mesh(number, photon)
    return compute_configuration(number, ground_occupation(number), photon, mesh)


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
    yield table(["", *NAMES[:5], "total", "total / Elam", "total / Chantler"], rows)
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
    """Successive ionization energies: orbital energies, and differences of average energies."""
    yield "\n### Successive ionization energies, eV\n\n"
    yield "From charge 0 on: NIST; orbital energy; difference of average energies. The transfer of "
    yield "electrons goes by NIST for the neutral atom, by average energies for ions up to Ar, by "
    yield "orbital energies for ions of Br to Xe. Tolerance of the tests from charge 1 on, for "
    yield "what transfer goes by: 10 %, heavy atoms 6.5 %.\n\n"
    rows = []
    for symbol, measured in {**IONIZATION, **IONIZATION_HEAVY}.items():
        number = ELEMENTS[symbol].number
        occupation = list(ground_occupation(number))
        for charge, value in enumerate(measured):
            here = solve_orbitals(number, tuple(occupation))
            outer = max(index for index, count in enumerate(occupation) if count)
            occupation[outer] -= 1
            ion = solve_orbitals(number, tuple(occupation))
            orbital = -here.energy[outer] * HARTREE_EV
            change = (average_energy(ion) - average_energy(here)) * HARTREE_EV
            cells = [f"{found:.1f} ({found / value - 1:+.1%})" for found in (orbital, change)]
            rows.append([symbol, str(charge), f"{value:g}", *cells])
    yield table(["", "charge", "NIST", "orbital energy", "average energies"], rows)


def with_hole(symbol: str, index: int) -> Configuration:
    """The atom with one hole in an inner subshell."""
    number = ELEMENTS[symbol].number
    occupation = list(ground_occupation(number))
    occupation[index] -= 1
    mesh = mesh_for(number, 100.0, innermost=SUBSHELLS[index].n)
    return compute_configuration(number, tuple(occupation), 100.0, mesh)


def heavy_tables() -> Iterator[str]:
    """Br, Kr, I and Xe: cross sections, edges, widths."""
    yield "\n## Br, Kr, I and Xe\n"
    totals = {
        symbol: [
            float(neutral(symbol, e).cross_section.sum()) * BOHR2_BARN
            for e in map(float, ENERGIES_HEAVY)
        ]
        for symbol in ELAM_HEAVY
    }
    for name, source in (("Elam", ELAM_HEAVY), ("Chantler", CHANTLER_HEAVY)):
        yield f"\n### Cross sections, divided by {name}\n\n"
        rows = [
            [symbol, *(f"{x / y:.3f}" for x, y in zip(totals[symbol], source[symbol], strict=True))]
            for symbol in source
        ]
        yield table(["eV", *map(str, ENERGIES_HEAVY)], rows)
    rows = []
    for symbol, edges in EDGES_HEAVY.items():
        binding = -neutral(symbol, 2000.0).energy * HARTREE_EV
        for index, (edge, width) in enumerate(zip(edges, WIDTHS_HEAVY[symbol], strict=True)):
            hole = with_hole(symbol, index)
            parts = [
                sum(d.rate for d in hole.decays if (d.hole, d.kind) == (index, kind)) * HARTREE_EV
                for kind in ("auger", "fluorescence")
            ]
            total = sum(parts)
            rows.append(
                [
                    *(symbol, NAMES[index], f"{binding[index]:.1f}", f"{edge:.1f}"),
                    *(f"{binding[index] / edge:.3f}", f"{total:.3g}", f"{width:.3g}"),
                    *(f"{total / width:.2f}", f"{parts[1] / total:.3g}"),
                ]
            )
    yield "\n### Binding energies and widths of holes, eV\n\n"
    header = ["", "subshell", "binding", "edge", "ratio", "width", "recommended", "ratio", "yield"]
    yield table(header, rows)


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
    return "".join(text for part in (*parts, one_electron_table, heavy_tables) for text in part())


if __name__ == "__main__":
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}{render()}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    print(f"wrote the tables of {PAGE.name}")
