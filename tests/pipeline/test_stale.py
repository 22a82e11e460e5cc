from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.options.reconstruct_options import ReconstructOptions
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.storage.checksums import CHECKSUM
from molexa_core.base.storage.provenance import Provenance, made_by
from molexa_core.base.tables import Coincidences
from molexa_core.io.results.channel_csv import read_channel_csv
from molexa_core.io.results.events import read_events, write_events
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.report import report_folder
from molexa_core.pipeline.chain.stale import require_fresh
from molexa_core.pipeline.reconstruction.reconstruct import reconstruct

SHAPE = np.array([[-40.0, 0.0, 0.0], [20.0, 45.0, 0.0], [20.0, -45.0, 0.0]])


def reduce_again(seed: int, run: str = "run.dat") -> None:
    rng = np.random.default_rng(seed)
    turns = np.linalg.qr(rng.normal(size=(100, 3, 3)))[0]
    table = Coincidences.of(["O+", "H+", "H+"], np.einsum("nab,ib->nia", turns, SHAPE))
    write_events("run.events.h5", table, Provenance.of(f"reduce {seed}", inputs=[run]))


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with events, aligned events and mean momenta that belong together."""
    monkeypatch.chdir(tmp_path)
    Path("run.dat").write_bytes(b"hits")
    reduce_again(1)
    align("run.events.h5", out="run.aligned.h5")
    centroid("run.aligned.h5", out="channel.csv")
    return tmp_path


def test_a_chain_that_belongs_together_passes(chain: Path) -> None:
    progress = CollectingProgress()
    report_folder(chain, progress=progress)
    assert progress.warned == []


def test_of_several_runs_that_is_reported_from_which_the_results_were_made(chain: Path) -> None:
    table, _ = read_events("run.events.h5")
    for name, rows in (("another", 40), ("third", 50)):
        write_events(f"{name}.events.h5", table.select(np.arange(rows)), Provenance.of("reduce"))
    align("another.events.h5", out="another.aligned.h5")
    progress = CollectingProgress()
    _, results = report_folder(chain, progress=progress)
    assert results.files["reduce"] == "run.events.h5"
    assert results.files["align"] == "run.aligned.h5"
    assert results.files["centroid"] == "channel.csv"
    left_out = "not in the report: another.events.h5, third.events.h5, another.aligned.h5"
    assert left_out in progress.said
    # One that is named, with what was made from it.
    for named in ("another.events.h5", "another.aligned.h5"):
        _, results = report_folder(chain / named)
        assert dict(results.files) == {"reduce": "another.events.h5", "align": "another.aligned.h5"}
        assert results.events is not None
        assert len(results.events) == 40
    _, results = report_folder("third.events.h5")
    assert dict(results.files) == {"reduce": "third.events.h5"}
    with pytest.raises(InputFileError, match="no file of coincidences"):
        report_folder(chain / "channel.csv")


def without_checksum(path: Path) -> None:
    """As molexa 0.1 wrote it."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            del file.attrs[CHECKSUM]
        path.write_bytes(path.read_bytes().split(b"\nmolexa checksum")[0])
    elif path.suffix == ".csv":
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(one for one in lines if not one.startswith("# checksum")), "utf-8")
    else:
        values = json.loads(path.read_text(encoding="utf-8"))
        del values[CHECKSUM]
        path.write_text(json.dumps({**values, "format": 1}), encoding="utf-8")


def test_every_stage_says_that_its_input_is_without_checksum(chain: Path) -> None:
    """Files of molexa 0.1; and nothing is said of those that have one."""
    reconstruct("channel.csv", options=ReconstructOptions(samples=1, search=0), out="geom.xyz")
    stages: dict[str, Callable[[CollectingProgress], object]] = {
        "run.events.h5": lambda progress: align("run.events.h5", out="a.h5", progress=progress),
        "run.aligned.h5": lambda progress: centroid(
            "run.aligned.h5", out="c.csv", progress=progress
        ),
        "channel.csv": lambda progress: reconstruct(
            "channel.csv",
            options=ReconstructOptions(samples=1, search=0),
            out="g.xyz",
            progress=progress,
        ),
        "geom.json": lambda progress: report_folder(chain, progress=progress),
    }
    for name, stage in reversed(stages.items()):
        assert not [text for text in said(stage) if "without checksum" in text]
        for made in ("a.h5", "c.csv", "g.xyz", "g.json"):
            Path(made).unlink(missing_ok=True)
        before = Path(name).read_bytes()
        without_checksum(Path(name))
        (told,) = [text for text in said(stage) if "without checksum" in text]
        assert told.startswith((name, str(chain / name)))
        Path(name).write_bytes(before)


def said(stage: Callable[[CollectingProgress], object]) -> list[str]:
    progress = CollectingProgress()
    stage(progress)
    return progress.said


def test_events_made_anew_stop_every_later_stage(chain: Path) -> None:
    reduce_again(2)
    for stage in (
        lambda: centroid("run.aligned.h5", out="channel.csv"),
        lambda: reconstruct(
            "channel.csv", options=ReconstructOptions(samples=1, search=0), out="geom.xyz"
        ),
        lambda: report_folder(chain),
    ):
        with pytest.raises(InputFileError, match="another run.events.h5"):
            stage()
    align("run.events.h5", out="run.aligned.h5")
    centroid("run.aligned.h5", out="channel.csv")
    report_folder(chain)


def test_another_frame_stops_the_momenta_of_the_old_one(chain: Path) -> None:
    align("run.events.h5", plane="xz", out="run.aligned.h5")
    with pytest.raises(InputFileError, match=r"another run.aligned.h5 .* Run molexa centroid"):
        reconstruct("channel.csv", options=ReconstructOptions(samples=1, search=0), out="geom.xyz")


def test_stages_of_two_runs_are_not_mixed(chain: Path) -> None:
    Path("run.events.h5").rename("other.events.h5")
    reduce_again(2)
    Path("run.events.h5").rename("new.events.h5")
    Path("other.events.h5").unlink()
    with pytest.raises(InputFileError, match="not made from new.events.h5"):
        report_folder(chain)


def test_an_edited_table_is_a_warning(chain: Path) -> None:
    reconstruct("channel.csv", options=ReconstructOptions(samples=1, search=0), out="geom.xyz")
    text = Path("channel.csv").read_text(encoding="utf-8")
    Path("channel.csv").write_text(f"{text}# looked at on Monday\n", encoding="utf-8")
    progress = CollectingProgress()
    report_folder(chain, progress=progress)
    assert any("channel.csv was changed" in warning for warning in progress.warned)


def test_a_table_made_anew_does_not_go_with_the_old_structure(chain: Path) -> None:
    reconstruct("channel.csv", options=ReconstructOptions(samples=1, search=0), out="geom.xyz")
    with made_by("molexa centroid, once more"):
        centroid("run.aligned.h5", out="channel.csv")
    with pytest.raises(InputFileError, match="another channel.csv"):
        report_folder(chain)


def test_a_raw_run_that_changed_is_a_warning(chain: Path) -> None:
    Path("run.dat").write_bytes(b"more hits")
    assert require_fresh("run.events.h5", read_events("run.events.h5")[1]) != []
    aligned = align("run.events.h5", out="run.aligned.h5")
    assert any("run.dat was changed" in warning for warning in aligned.warnings)
    assert any("run.dat" in one for one in read_events("run.aligned.h5")[0].meta["warnings"])


def test_numbers_edited_by_hand_are_told(chain: Path) -> None:
    text = Path("channel.csv").read_text(encoding="utf-8")
    lines = text.splitlines()
    lines[-1] = lines[-1].replace(lines[-1].split(",")[1], "12.5", 1)
    Path("channel.csv").write_text("\n".join(lines), encoding="utf-8")
    table, _ = read_channel_csv("channel.csv")
    assert any("edited" in warning for warning in table.attrs["warnings"])
