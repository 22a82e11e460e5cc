"""Write the table in docs/benchmarks.md from benchmarks/results/*.json.

Usage: python tools/write_benchmark_table.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->"


def number(value: float) -> str:
    """Three digits, thousands apart."""
    return (
        f"{value:.3g}" if abs(value) < 1000 else f"{float(f'{value:.3g}'):,.0f}".replace(",", " ")
    )


def row(result: dict[str, Any]) -> str:
    """One result as a line of the table."""
    measured = result["measured"]
    if result["amount"] == 1:
        rate = f"{number(measured['median_s'] * 1000)} ms"
        spread = " to ".join(number(seconds * 1000) for seconds in reversed(measured["spread_s"]))
    else:
        slow, fast = (result["amount"] / seconds for seconds in reversed(measured["spread_s"]))
        rate = f"{number(measured['per_second'])} {result['unit']}/s"
        spread = f"{number(slow)} to {number(fast)}"
    ratio = result["ratio_to_baseline"]
    baseline = "" if ratio is None else f"{ratio:.2f} × {result['baseline']['what']}"
    where = result["device"] if result["device"] != "cpu" else result["machine"]["processor"]
    sizes = ", ".join(f"{key} {value}" for key, value in result["sizes"].items())
    return f"| {result['question']} | {rate} | {spread} | {baseline} | {sizes} | {where} |\n"


def notes(result: dict[str, Any]) -> str:
    """What a reader must know, if anything."""
    return f"\n- `{result['name']}`: {result['notes']}" if result["notes"] else ""


def render() -> str:
    """The table and its notes."""
    results = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))
    ]
    head = (
        "| question | at the median | spread | time relative to | sizes | where |\n"
        "|---|---|---|---|---|---|\n"
    )
    return head + "".join(map(row, results)) + "".join(map(notes, results)) + "\n"


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{render()}{END}{rest.split(END)[1]}", encoding="utf-8")
    print(f"wrote the table of {PAGE.name}")
