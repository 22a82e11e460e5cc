from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molexa_core.pipeline.runs.inspect import inspect_files


@pytest.mark.parametrize(
    ("place", "time", "asked"),
    [(1.0, 1.0, ""), (1e-3, 1.0, "in mm?"), (1e3, 1.0, "in mm?"), (1.0, 1e-3, "in ns?")],
)
def test_inspect_doubts_units_without_a_setup(
    tmp_path: Path, rng: np.random.Generator, place: float, time: float, asked: str
) -> None:
    x, y = rng.uniform(-40.0, 40.0, (2, 400)) * place
    t = rng.uniform(500.0, 6000.0, 400) * time
    rows = [f"{shot},{a!r},{b!r},{c!r}" for shot, (a, b, c) in enumerate(
        zip(x.tolist(), y.tolist(), t.tolist(), strict=True))]  # fmt: skip
    path = tmp_path / "run.csv"
    path.write_text("\n".join(["shot,x_mm,y_mm,t_ns", *rows]), encoding="utf-8")
    (found,) = inspect_files([path])
    said = [text for text in found.warnings if text.endswith("?")]
    assert (len(said) == 1 and said[0].endswith(asked)) if asked else not said
