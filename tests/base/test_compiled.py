"""Compiled functions: what is said while they are made, where they are kept."""

from __future__ import annotations

import gc
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from molexa_core.base import compiled, compiled_elsewhere
from molexa_core.base.progress import CollectingProgress

SOURCE = """
import numpy as np
from molexa_core.base.compiled import compiled, inlined, inner


@inner
def third(x):
    return x / 3.0


@inlined
def clipped(x, most):
    if x > most:
        return most
    return x


@compiled
def total(values, most):
    found = 0.0
    for value in values:
        found += clipped(third(value), most)
    return found


@compiled
def ratio(one, other):
    return one / other
"""


def load(path: Path) -> ModuleType:
    """The module as a process that starts anew sees it."""
    spec = importlib.util.spec_from_file_location("made_for_a_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "made_for_a_test.py"
    file.write_text(SOURCE, encoding="utf-8")
    return file


def test_compilation_is_announced_once_and_its_result_is_kept(path: Path) -> None:
    values = np.array([3.0, 6.0, 30.0])
    for start, announcements in ((1, 1), (2, 0)):  # the second one loads what the first one left
        progress = CollectingProgress()
        module = load(path)
        with compiled.announced(progress.say):
            assert module.total(values, 4.0) == 7.0
            assert module.ratio(1.0, 4.0) == 0.25
        assert len(progress.said) == announcements, f"start {start}"
        assert all("once" in text for text in progress.said)


def test_garbage_waits_while_a_function_is_compiled(path: Path) -> None:
    module = load(path)
    seen: list[bool] = []
    with compiled.announced(lambda _: seen.append(gc.isenabled())):
        module.total(np.array([3.0]), 4.0)
    assert seen == [False]
    assert gc.isenabled()


def test_garbage_is_collected_again_after_code_that_cannot_be_compiled(path: Path) -> None:
    module = load(path)
    with pytest.raises(Exception, match="nopython"):
        module.total("no numbers", 4.0)
    assert gc.isenabled()


def test_a_division_by_zero_is_that_of_numpy(path: Path) -> None:
    module = load(path)
    assert module.ratio(1.0, 0.0) == np.inf
    assert np.isnan(module.ratio(0.0, 0.0))


def test_without_a_folder_to_keep_it_that_is_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an installation and a home that cannot be written."""
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    monkeypatch.setattr(compiled, "_without_folder", [])
    progress = CollectingProgress()
    module = load(path)
    with compiled.announced(progress.say):
        assert module.ratio(1.0, 4.0) == 0.25
    (text,) = progress.said
    assert "NUMBA_CACHE_DIR" in text
    assert not list(path.parent.rglob("*.nbi"))


def test_what_is_kept_follows_the_modules_that_it_is_made_of(tmp_path: Path) -> None:
    package = tmp_path / "molexa_core"
    package.mkdir()
    (package / "constant.py").write_text("MOST = 3\n")
    inner = "from molexa_core.base.compiled import inner\nfrom molexa_core.constant import MOST\n"
    (package / "inside.py").write_text(inner)
    outer = package / "outside.py"
    outer.write_text("from molexa_core.inside import third\n")

    def stamp() -> tuple[object, ...]:
        compiled._stamp_of_imports.cache_clear()
        return compiled._stamp_of_imports(outer, tmp_path)

    before = stamp()
    assert stamp() == before
    (package / "constant.py").write_text("MOST = 4\n")
    changed = stamp()
    assert changed != before
    (package / "inside.py").write_text(inner + "\n")
    assert stamp() not in (before, changed)


def test_code_of_another_time_is_not_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kept code has the stamp of the imports beside that of its own file."""
    for stamp, announcements in ((1, 1), (1, 0), (2, 1)):
        monkeypatch.setattr(compiled, "_stamp_of_imports", lambda *_, one=stamp: one)
        progress = CollectingProgress()
        module = load(path)
        with compiled.announced(progress.say):
            assert module.total(np.array([3.0, 6.0]), 4.0) == 3.0
        assert len(progress.said) == announcements


MAKER = """

def make():
    total(np.empty(0), 1.0)
    {end}
"""


@pytest.mark.parametrize(("end", "loaded"), [("", 1), ("raise SystemExit(1)", 1), ("", 0)])
def test_another_process_compiles_what_is_needed_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, end: str, loaded: int
) -> None:
    """Whatever becomes of that process, the function does what it does."""
    monkeypatch.setattr(compiled_elsewhere, "_cores", lambda: 1 + loaded)
    monkeypatch.setenv("PYTHONPATH", str(path.parent))
    monkeypatch.syspath_prepend(path.parent)  # kept code names the module that it is of
    monkeypatch.delitem(sys.modules, path.stem, raising=False)
    path.write_text(SOURCE + MAKER.format(end=end), encoding="utf-8")
    module = load(path)
    progress = CollectingProgress()
    with compiled.announced(progress.say, {"made_for_a_test:make": [module.total]}):
        assert module.ratio(1.0, 4.0) == 0.25  # is compiled here, and begins the others
        assert module.total(np.array([3.0, 6.0, 30.0]), 4.0) == 7.0
    assert len(progress.said) == 1
    hits = sum(module.total.stats.cache_hits.values())
    assert hits == (loaded if not end else 0)
    again = load(path)
    assert again.total(np.array([3.0]), 4.0) == 1.0
    assert sum(again.total.stats.cache_hits.values()) == 1


def test_processes_that_nobody_waits_for_are_ended(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_elsewhere, "_cores", lambda: 2)
    monkeypatch.setenv("PYTHONPATH", str(path.parent))
    path.write_text(SOURCE + "\n\ndef make():\n    import time\n    time.sleep(60)\n")
    module = load(path)
    started = []
    usual = compiled_elsewhere._start

    def noted(maker: str) -> subprocess.Popen[bytes]:
        started.append(usual(maker))
        return started[-1]

    monkeypatch.setattr(compiled_elsewhere, "_start", noted)
    with compiled.announced(lambda _: None, {"made_for_a_test:make": [module.total]}):
        module.ratio(1.0, 4.0)
    (process,) = started
    assert process.returncode is not None
