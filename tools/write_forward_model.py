"""Write the tables of docs/forward-model-tables.md and its figures in docs/figures.

Usage: python tools/write_forward_model.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
import numpy as np

from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.units import HARTREE_EV
from molexa_core.physics.atomic.cache import atomic_tables
from molexa_core.physics.mcmd import state as at
from molexa_core.physics.mcmd.combinations import combine
from molexa_core.physics.mcmd.rate_equations import rate_equations
from molexa_core.physics.mcmd.trajectories import Trajectories, run_trajectories
from molexa_core.physics.molecules.library import molecule

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "forward-model-tables.md"
FIGURES = ROOT / "docs" / "figures"
BEGIN, END = "<!-- measured -->\n", "<!-- end of measured -->"
PULSE = Pulse(2000.0)
SEED = 1
MOLECULES = ("water", "cf4", "ch2cl2", "ethanol")
FORMULA = {"water": "H2O", "cf4": "CF4", "ch2cl2": "CH2Cl2", "ethanol": "C2H5OH"}
RULES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("none", {"transfer": "none"}),
    ("full, at once", {"transfer": "full", "transfer_time_fs": 0.0}),
    ("pair, at once", {"transfer": "pair", "transfer_time_fs": 0.0}),
    ("full, 1 fs", {"transfer": "full"}),
    ("full, 5 fs", {"transfer": "full", "transfer_time_fs": 5.0}),
    ("low, at once", {"transfer": "low", "transfer_time_fs": 0.0}),
    ("neutral, at once", {"transfer": "neutral", "transfer_time_fs": 0.0}),
    ("**neutral, 1 fs**", {}),
    ("neutral, 5 fs", {"transfer_time_fs": 5.0}),
)
SWITCHES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("default", {}),
    ("recapture", {"recapture": True}),
    ("double Auger 6 %", {"double_auger": 0.06}),
    ("shake-off 20 %", {"shake_off": 0.2}),
    ("focal volume, down to 1 %", {"focus": "volume"}),
)
STEPS_FS = (0.4, 0.2, 0.1, 0.05, 0.025)
FLUENCES = ((1e4, 15.0), (2.75e4, 15.0), (1e5, 230.0))
PER_A2 = 1e8


def run(name: str, count: int, **options: Any) -> Trajectories:
    """Trajectories of a molecule of the library."""
    geometry = molecule(name).geometry
    return run_trajectories(
        geometry.positions,
        geometry.symbols,
        PULSE,
        ModelOptions(**options),
        trajectories=count,
        seed=SEED,
    )


def neon(fluence: float, duration: float, count: int = 20_000) -> tuple[Pulse, Any]:
    """The pulse, and how often each charge occurred."""
    pulse = Pulse(2000.0, duration_fs=duration, fluence_um2=fluence * PER_A2)
    found = run_trajectories(np.zeros((1, 1, 3)), ["Ne"], pulse, trajectories=count, seed=SEED)
    return pulse, np.bincount(found.charges.ravel(), minlength=11) / count


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def instant_ev(name: str, found: Trajectories) -> float:
    """Mean Coulomb energy of the final charges in the starting geometry."""
    x = molecule(name).geometry.positions
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    q = found.charges[0].astype(float)
    return float(np.einsum("ti,tj,ij->t", q, q, 0.5 / distance).mean()) * HARTREE_EV


def bare_carbon(found: Trajectories) -> list[str]:
    """Share of carbon with charge 2 or less beside halogens of charge 6 or more."""
    q, kinds = found.charges[0], np.array(found.symbols)
    halogen = np.isin(kinds, ("F", "Cl"))
    if not halogen.any():
        return []
    high = q[(q[:, halogen] >= 6).all(axis=1)][:, kinds == "C"]
    return [f"{(high <= 2).mean():.3f}"]


def line(name: str, label: str, found: Trajectories, symbols: Sequence[str]) -> list[str]:
    """One row: counts, mean charges, energies."""
    counts = found.counts[0].mean(axis=0)
    q, energy = found.charges[0].astype(float), found.kinetic[0] * HARTREE_EV
    kinds = np.array(found.symbols)
    release = float(energy.sum(axis=1).mean())
    numbers = [counts[at.PHOTONS], counts[at.AUGERS], counts[at.TRANSFERS]]
    means = [f"{q[:, kinds == symbol].mean():.2f}" for symbol in symbols]
    energies = [f"{energy[:, kinds == symbol].mean():.0f}" for symbol in symbols]
    excess = found.energies[0, :, at.EXCESS].sum() / max(
        float(found.counts[0, :, at.TRANSFERS].sum()), 1.0
    )
    return [
        label,
        *(f"{number:.1f}" for number in numbers),
        f"{excess * HARTREE_EV:.0f}",
        *bare_carbon(found),
        *means,
        f"{q.sum(axis=1).mean():.2f}",
        *energies,
        f"{release:.0f}",
        f"{release / instant_ev(name, found):.3f}",
        str(len(combine(found))),
    ]


def rule_tables(count: int = 2500) -> Iterator[str]:
    """Charges and energies by rule of transfer and by switch."""
    for name in MOLECULES:
        symbols = sorted(set(molecule(name).geometry.symbols), key="OCFHCl".find)
        symbols = sorted(symbols, key=lambda symbol: -len(symbol))
        header = ["rule", "photons", "Auger", "transfers", "excess / eV"]
        header += ["C ≤ 2+"] if name in {"cf4", "ch2cl2"} else []
        header += [f"q({s})" for s in symbols] + ["Q"]
        header += [f"E({s}) / eV" for s in symbols]
        header += ["KER / eV", "KER / instant", "combinations"]
        rows = [line(name, label, run(name, count, **o), symbols) for label, o in RULES]
        yield f"### {FORMULA[name]} by rule of transfer\n\n{table(header, rows)}\n"
        if name in {"water", "ch2cl2"}:
            rows = [line(name, label, run(name, count, **o), symbols) for label, o in SWITCHES]
            yield f"### {FORMULA[name]} by switch\n\n{table(header, rows)}\n"


def neon_table() -> tuple[str, Any]:
    """Charge states of neon by Monte Carlo and by rate equations, and a figure of them."""
    tables = atomic_tables("Ne", 2000.0)
    rows = []
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.6), sharey=True)
    for axis, (fluence, duration) in zip(axes, FLUENCES, strict=True):
        pulse, share = neon(fluence, duration)
        expected = rate_equations(tables, pulse, intervals=300)[0]
        label = f"{fluence:g}/Å², {duration:g} fs"
        rows.append([label, "trajectories", *(f"{value:.3f}" for value in share)])
        rows.append(["", "rate equations", *(f"{value:.3f}" for value in expected)])
        axis.bar(range(11), share, color="#9db8d2", label="20 000 trajectories")
        axis.plot(range(11), expected, "k_", markersize=12, label="rate equations")
        axis.set(xlabel="charge of Ne", title=label)
    axes[0].set_ylabel("share")
    axes[0].legend(frameon=False, fontsize=8)
    header = ["pulse", "by", *(str(charge) for charge in range(11))]
    return f"### Neon alone, 2 keV\n\n{table(header, rows)}\n", figure


def step_table(count: int = 3000) -> tuple[str, Any]:
    """Convergence with the length of the steps, and a figure of it."""
    rows = []
    figure, axis = plt.subplots(figsize=(4.5, 2.8))
    for name, color in (("water", "#3b6ea5"), ("ch2cl2", "#b5543c")):
        found = [run(name, count, step_fs=s, growth=s / 5, accuracy=min(s, 0.5)) for s in STEPS_FS]
        release = [float(one.kinetic.sum(axis=2).mean()) * HARTREE_EV for one in found]
        booked = [float(one.energies[..., at.COULOMB].mean()) * HARTREE_EV for one in found]
        for s, one, ker, energy in zip(STEPS_FS, found, release, booked, strict=True):
            q = one.charges.sum(axis=2).mean()
            cells = [f"{ker:.1f}", f"{ker / release[-1]:.4f}", f"{energy / ker:.4f}"]
            rows.append([FORMULA[name], f"{s:g}", f"{q:.2f}", *cells])
        error = [abs(energy / ker - 1) for energy, ker in zip(booked, release, strict=True)]
        axis.loglog(STEPS_FS, error, "o-", color=color, label=FORMULA[name])
    axis.set(xlabel="step in the pulse / fs", ylabel="|booked / KER − 1|")
    axis.set_xticks(STEPS_FS, [f"{s:g}" for s in STEPS_FS])
    axis.minorticks_off()
    axis.legend(frameon=False)
    header = ["molecule", "step / fs", "Q", "KER / eV", "relative to finest", "booked / KER"]
    return f"### Length of the steps\n\n{table(header, rows)}\n", figure


def energy_table(count: int = 2500) -> tuple[str, Any]:
    """Where the energy of the photons goes, and a figure of it."""
    rows = []
    figure, axis = plt.subplots(figsize=(7, 2.2))
    places = (at.ELECTRONS, at.ATOMS, at.COULOMB, at.EXCESS, at.RADIATED)
    names = ("electrons", "atoms", "Coulomb", "left in transfers", "light")
    colors = ("#9db7d5", "#4a6b8a", "#b5543c", "#e0b8a8", "#d9c65b")
    for name in MOLECULES:
        energy = run(name, count).energies[0].astype(float) * HARTREE_EV
        mean = energy.mean(axis=0)
        missing = np.abs(energy[:, at.ABSORBED] - energy[:, 1:].sum(axis=1)).max()
        shares = [mean[place] / mean[at.ABSORBED] for place in places]
        left = 0.0
        for share, label, color in zip(shares, names, colors, strict=True):
            axis.barh(FORMULA[name], share, left=left, color=color, label=label)
            left += share
        cells = [f"{mean[place]:.1f}" for place in (at.ABSORBED, *places)]
        rows.append([FORMULA[name], *cells, f"{missing:.2f}"])
    axis.set(xlabel="share of the energy of the absorbed photons", xlim=(0, 1))
    axis.invert_yaxis()
    handles, labels = axis.get_legend_handles_labels()
    legend = {"frameon": False, "fontsize": 8, "ncols": 5, "loc": "lower center"}
    figure.legend(handles[: len(names)], labels[: len(names)], **legend, bbox_to_anchor=(0.5, 0.92))
    header = ["molecule", "absorbed", *names, "most that one trajectory misses"]
    return f"### Energy, mean of {count} trajectories, eV\n\n{table(header, rows)}\n", figure


def rule_figure(count: int = 2500) -> Any:
    """Charges of carbon and chlorine in CH2Cl2 by rule."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), sharey=True)
    for label, options, style in (
        ("none", {"transfer": "none"}, ":"),
        ("neutral, 1 fs (default)", {}, "-"),
        ("full, at once", {"transfer": "full", "transfer_time_fs": 0.0}, "--"),
    ):
        found = run("ch2cl2", count, **options)
        kinds = np.array(found.symbols)
        for axis, symbol, most in ((axes[0], "C", 6), (axes[1], "Cl", 15)):
            q = found.charges[0][:, kinds == symbol].ravel()
            share = np.bincount(q, minlength=most + 1)[: most + 1] / len(q)
            axis.step(range(most + 1), share, style, where="mid", color="k", label=label)
            axis.set(xlabel=f"charge of {symbol} in CH2Cl2", xticks=range(0, most + 1, most // 5))
    axes[0].set_ylabel("share")
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def save(figure: Any, name: str) -> None:
    """Write a figure as SVG that is the same at every run."""
    figure.tight_layout()
    figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


if __name__ == "__main__":
    mpl.rcParams["svg.hashsalt"] = "molexa"
    mpl.rcParams["svg.fonttype"] = "none"
    FIGURES.mkdir(exist_ok=True)
    neon_text, neon_figure = neon_table()
    step_text, step_figure = step_table()
    save(neon_figure, "neon-charge-states")
    save(step_figure, "mcmd-step-length")
    save(rule_figure(), "transfer-rules")
    energy_text, energy_figure = energy_table()
    save(energy_figure, "mcmd-energy-balance")
    text = neon_text + "".join(rule_tables()) + energy_text + step_text
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END)[1]}", encoding="utf-8")
