"""The page on which a region is drawn: one HTML file with a map, for the browser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import jinja2
from markupsafe import Markup

from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.resources import shipped_folder
from molexa_core.report.style import axis_label

TEMPLATE: Final = "gate.html.j2"


def gate_page(
    spectrum: Spectrum,
    *,
    file: str,
    name: str,
    target: str,
    gates: Sequence[str] = (),
    saves_to: str | None = None,
) -> str:
    """The HTML text of the page.

    Args:
        spectrum: the map; its labels are the observables.
        file: name of the events file.
        name: proposed name of the region.
        target: name of the file that regions are written to.
        gates: gates that the map has passed, in words.
        saves_to: where the page sends a region; None for a page that only shows its block.

    Raises:
        InputFileError: the installation lacks the template.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped_folder("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    x, y = spectrum.labels
    first, second = spectrum.edges
    data = {
        "x": x,
        "y": y,
        "x_label": axis_label(x, spectrum.units[0]),
        "y_label": axis_label(y, spectrum.units[1]),
        "x_range": [float(first[0]), float(first[-1])],
        "y_range": [float(second[0]), float(second[-1])],
        "nx": int(spectrum.counts.shape[0]),
        "ny": int(spectrum.counts.shape[1]),
        "counts": spectrum.counts.astype(int).ravel().tolist(),
        "rows": round(spectrum.total),
    }
    return environment.get_template(TEMPLATE).render(
        title=f"{y} against {x}",
        file=file,
        name=name,
        target=target,
        rows=f"{round(spectrum.total)}",
        gates=list(gates),
        saves_to=saves_to is not None,
        data=_script(data),
        saves_to_json=_script(saves_to),
    )


def _script(values: object) -> Markup:
    """Values as JSON inside a script: nothing in them can end it."""
    text = json.dumps(values, allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704  escaped above
