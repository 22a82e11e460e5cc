"""A small view of a structure in three dimensions for notebooks: SVG that turns with the mouse.

Complete in itself, a few kilobytes, without a network. Where scripts are not run, such as in a
notebook that is not trusted, the drawing stands as it is.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import numpy as np

from molexa_core.base.tables import FloatArray
from molexa_core.report.style import ACCENT, element_colour

SIZE: Final = 300
"""Side of the picture in pixels."""
_START: Final = (-0.45, 0.5)
"""First turns about the horizontal and the vertical axis, rad."""


@dataclass(frozen=True)
class SmallScene:
    """What is drawn, in one unit of length.

    Attributes:
        names, symbols: of each atom.
        at: (atoms, 3) positions.
        sticks: pairs of atoms.
        arrows: (atoms, 3) ends of arrows that begin at the atoms, such as momenta; None for none.
        clouds: (points, atoms, 3) other places of the atoms, such as samples; None for none.
    """

    names: Sequence[str]
    symbols: Sequence[str]
    at: FloatArray
    sticks: Sequence[tuple[int, int]] = field(default_factory=tuple)
    arrows: FloatArray | None = None
    clouds: FloatArray | None = None


def small_view(scene: SmallScene, size: int = SIZE) -> str:
    """The scene as HTML: drag to turn it.

    Args:
        scene: what is drawn.
        size: side in pixels.
    """
    values = _values(scene)
    name = f"molexa-{uuid4().hex}"
    script = _SCRIPT.replace("NAME", name).replace("VALUES", json.dumps(values))
    return (
        f'<svg id="{name}" xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" '
        'viewBox="-1.25 -1.25 2.5 2.5" style="cursor:grab;touch-action:none;background:#fff;'
        f'border-radius:6px" role="img" aria-label="structure">{_drawn(values)}</svg>'
        f"<script>{script}</script>"
    )


def _values(scene: SmallScene) -> dict[str, object]:
    middle = scene.at.mean(axis=0)
    points = [scene.at - middle]
    if scene.arrows is not None:
        points.append(scene.arrows - middle)
    scale = max(float(np.linalg.norm(np.concatenate(points), axis=1).max(initial=0.0)), 1e-9)

    def placed(values: FloatArray) -> list[list[float]]:
        return [[round(float(x), 4) for x in row] for row in (values - middle) / scale]

    return {
        "at": placed(scene.at),
        "arrows": None if scene.arrows is None else placed(scene.arrows),
        "cloud": []
        if scene.clouds is None
        else [
            [atom, *place] for sample in scene.clouds for atom, place in enumerate(placed(sample))
        ],
        "names": list(scene.names),
        "colours": [element_colour(symbol) for symbol in scene.symbols],
        "radii": [0.075 if symbol == "H" else 0.11 for symbol in scene.symbols],
        "sticks": [list(pair) for pair in scene.sticks],
        "turn": list(_START),
        "accent": ACCENT,
    }


def _drawn(values: dict[str, object]) -> str:
    """The first picture, drawn as the script draws it."""
    at = np.array(values["at"], dtype=float).reshape(-1, 3)
    seen = _turned(at)
    parts: list[tuple[float, str]] = []
    sticks: list[list[int]] = values["sticks"]  # type: ignore[assignment]
    for i, j in sticks:
        (x, y, z), (u, v, w) = seen[i], seen[j]
        line = (
            f'<line x1="{x:.3f}" y1="{-y:.3f}" x2="{u:.3f}" y2="{-v:.3f}" stroke="#8b94a1" '
            'stroke-width="0.05" stroke-linecap="round"/>'
        )
        parts.append((0.5 * (z + w) - 0.01, line))
    arrows = values["arrows"]
    if arrows is not None:
        for (x, y, z), (u, v, w) in zip(seen, _turned(np.array(arrows, float)), strict=True):
            line = (
                f'<line x1="{x:.3f}" y1="{-y:.3f}" x2="{u:.3f}" y2="{-v:.3f}" stroke="{ACCENT}" '
                f'stroke-width="0.02"/><circle cx="{u:.3f}" cy="{-v:.3f}" r="0.025" '
                f'fill="{ACCENT}"/>'
            )
            parts.append((0.5 * (z + w), line))
    names: list[str] = values["names"]  # type: ignore[assignment]
    colours: list[str] = values["colours"]  # type: ignore[assignment]
    radii: list[float] = values["radii"]  # type: ignore[assignment]
    for (x, y, z), name, colour, radius in zip(seen, names, colours, radii, strict=True):
        ball = (
            f'<circle cx="{x:.3f}" cy="{-y:.3f}" r="{radius}" fill="{colour}" stroke="#1f2a37" '
            f'stroke-width="0.01"/><text x="{x + radius:.3f}" y="{-y - radius:.3f}" '
            'font-size="0.12" font-family="sans-serif" fill="#1f2a37">'
            f"{html.escape(name)}</text>"
        )
        parts.append((z, ball))
    return "".join(text for _, text in sorted(parts, key=lambda part: part[0]))


def _turned(points: FloatArray) -> FloatArray:
    a, b = _START
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    turned: FloatArray = points @ (about_x @ about_y).T
    return turned


_SCRIPT: Final = """(function () {
var s = VALUES, box = document.getElementById("NAME"), a = s.turn[0], b = s.turn[1], from = null;
if (!box) { return; }
function turn(p) {
  var x = Math.cos(b) * p[0] + Math.sin(b) * p[2], q = -Math.sin(b) * p[0] + Math.cos(b) * p[2];
  return [x, Math.cos(a) * p[1] - Math.sin(a) * q, Math.sin(a) * p[1] + Math.cos(a) * q];
}
function make(kind, values, text) {
  var e = document.createElementNS("http://www.w3.org/2000/svg", kind), n;
  for (n in values) { e.setAttribute(n, values[n]); }
  if (text !== undefined) { e.textContent = text; }
  return e;
}
function line(p, q, colour, width) {
  return make("line", {x1: p[0], y1: -p[1], x2: q[0], y2: -q[1], stroke: colour,
    "stroke-width": width, "stroke-linecap": "round"});
}
function draw() {
  var at = s.at.map(turn), parts = [];
  s.sticks.forEach(function (k) {
    var p = at[k[0]], q = at[k[1]];
    parts.push([(p[2] + q[2]) / 2 - 0.01, [line(p, q, "#8b94a1", 0.05)]]);
  });
  (s.arrows || []).forEach(function (end, i) {
    var p = at[i], q = turn(end);
    parts.push([(p[2] + q[2]) / 2, [line(p, q, s.accent, 0.02),
      make("circle", {cx: q[0], cy: -q[1], r: 0.025, fill: s.accent})]]);
  });
  s.cloud.forEach(function (c) {
    var p = turn(c.slice(1));
    parts.push([p[2], [make("circle", {cx: p[0], cy: -p[1], r: 0.012, fill: s.colours[c[0]],
      "fill-opacity": 0.5})]]);
  });
  at.forEach(function (p, i) {
    var r = s.radii[i];
    parts.push([p[2], [make("circle", {cx: p[0], cy: -p[1], r: r, fill: s.colours[i],
      stroke: "#1f2a37", "stroke-width": 0.01}), make("text", {x: p[0] + r, y: -p[1] - r,
      "font-size": 0.12, "font-family": "sans-serif", fill: "#1f2a37"}, s.names[i])]]);
  });
  parts.sort(function (p, q) { return p[0] - q[0]; });
  while (box.firstChild) { box.removeChild(box.firstChild); }
  parts.forEach(function (part) { part[1].forEach(function (e) { box.appendChild(e); }); });
}
box.addEventListener("pointerdown", function (e) {
  from = [e.clientX, e.clientY]; box.setPointerCapture(e.pointerId);
});
box.addEventListener("pointermove", function (e) {
  if (!from) { return; }
  b += (e.clientX - from[0]) / 100; a += (e.clientY - from[1]) / 100;
  from = [e.clientX, e.clientY]; draw();
});
box.addEventListener("pointerup", function () { from = null; });
draw();
})();"""
