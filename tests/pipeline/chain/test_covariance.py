from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.io.results.covariance_file import read_covariance
from molexa_core.io.root.writer import write_root_run
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.covariance_maps import covariance
from molexa_core.pipeline.chain.pick import COVARIANCE_SUFFIX
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.chain.report import report_folder
from molexa_core.pipeline.given.given_run import result_of_run
from tests.fakes.root_runs import make_channel, make_run, make_setup

SETUP = make_setup(detector={"dead_time_ns": 0})
WATER = make_channel(("O+", 1), ("H+", 2))
RUN = make_run(
    ("O+", "H+", "H+"), SETUP, shots=20_000, per_shot=1.2, efficiency=0.5, noise_per_shot=0.5,
    recoil=(4.0, 3.0, 2.0),
)  # fmt: skip


def test_cumulants_are_the_true_combinations_beside_the_coincidences() -> None:
    found = covariance(RUN.chunks(6000), WATER, SETUP, bins=20)
    seen = np.zeros((len(RUN.shot), 3), bool)
    seen[RUN.molecule[RUN.molecule >= 0], RUN.ion[RUN.molecule >= 0]] = True
    o, h1, h2 = seen.T
    truth = {
        "O+ H+": (o & h1).sum() + (o & h2).sum(),
        "H+ H+": (h1 & h2).sum(),
        "O+ H+ H+": (o & h1 & h2).sum(),
    }
    assert {row.label for row in found.rows} == set(truth)
    for row in found.rows:
        assert abs(row.value - truth[row.label] / 20_000) < 4.0 * row.error
        assert row.sliced is not None
        assert row.sliced == pytest.approx(row.value, abs=2.0 * row.error)
    known = found.coincidences
    assert known is not None
    assert abs(known.per_shot - found.rows[-1].value) < 4.0 * found.rows[-1].error
    one = found.maps["covariance"]
    assert one.errors is not None
    assert one.counts.sum() == pytest.approx(one.counts.T.sum())
    assert abs(one.counts).max() > 5.0 * np.median(one.errors)


def test_momenta_as_axes_show_the_recoil() -> None:
    """Heavy oxygen takes the recoil of the proton: negative covariance of opposite signs only."""
    found = covariance(RUN.chunks(6000), WATER, SETUP, axes=("pz(O+)", "pz(H+)"), bins=2, slices=0)
    counts, errors = found.maps["covariance"].counts, found.maps["covariance"].errors
    assert errors is not None
    opposite, alike = counts[0, 1] + counts[1, 0], counts[0, 0] + counts[1, 1]
    assert opposite > alike + 5.0 * errors.max()


def test_files_and_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    meta = {"channel": WATER.model_dump(mode="json"), "setup": SETUP.model_dump(mode="json")}
    write_root_run(tmp_path / "run.root", [RUN.hits.shots(0, 3000)], slots=24, meta=meta)
    path = result_of_run(["run.root"], COVARIANCE_SUFFIX)
    assert path == Path("run.covariance.h5")
    found = covariance(["run.root"], bins=6, beside=["O+"], out=path)
    values, maps, record = read_covariance(path)
    assert values["cumulants"][0]["ions"] == list(found.rows[0].ions)
    assert set(maps) == {"cumulant with O+"}
    np.testing.assert_allclose(
        maps["cumulant with O+"].counts, found.maps["cumulant with O+"].counts
    )
    assert record.settings["bins"] == 6
    with pytest.raises(UsageError, match="no tag"):
        covariance(["run.root"], control="gas_pressure", out="other.h5")
    with pytest.raises(UsageError, match="axis"):
        covariance(["run.root"], axes=("tof", "speed(O+)"), out="other.h5")
    with pytest.raises(InputFileError):
        read_covariance("run.root")


def test_the_report_shows_maps_and_true_coincidences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    meta = {"channel": WATER.model_dump(mode="json"), "setup": SETUP.model_dump(mode="json")}
    write_root_run(tmp_path / "run.root", [RUN.hits.shots(0, 6000)], slots=24, meta=meta)
    covariance("run.root", bins=12, out="run.covariance.h5")
    reduce(["run.root"], out="run.events.h5")
    align("run.events.h5", out="run.aligned.h5")
    page = report_folder(tmp_path)[0].read_text(encoding="utf-8")
    for text in (
        "<h3>Covariances</h3>",
        "true combinations O⁺ H⁺ H⁺ per shot",
        "true coincidences per shot",
        "detection efficiency of H⁺",
    ):
        assert text in page
