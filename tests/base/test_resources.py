"""Finding what ships: from the source tree, from a wheel's layout, from the working folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.storage import resources
from molexa_core.base.storage.resources import available, find, search_folders, shipped_folder


@pytest.fixture
def installed_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder laid out as the wheel lays it out, without a source tree around it."""
    package = tmp_path / "site-packages" / "molexa_core"
    for kind in resources.FOLDERS:
        (package / "shipped" / kind).mkdir(parents=True)
    shutil.copy(shipped_folder("channels") / "water.yaml", package / "shipped" / "channels")
    monkeypatch.setattr(resources, "_PACKAGE", package)
    return package


@pytest.mark.parametrize("kind", resources.FOLDERS)
def test_source_tree(kind: str) -> None:
    assert shipped_folder(kind).is_dir()


def test_wheel(installed_wheel: Path, working_folder: Path) -> None:
    assert find("channels", "water", ".yaml") == installed_wheel / "shipped/channels/water.yaml"
    assert list(available("channels", ".yaml")) == ["water"]


def test_incomplete_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "molexa_core")
    with pytest.raises(InputFileError, match="channels folder is missing.*Install molexa again"):
        shipped_folder("channels")


def test_the_working_folder_wins_and_adds(working_folder: Path) -> None:
    own = working_folder / "channels"
    own.mkdir()
    (own / "water.yaml").write_text("name: mine\n")
    (own / "methane.yaml").write_text("name: methane\n")
    assert find("channels", "water", ".yaml") == own / "water.yaml"
    assert find("channels", "cf4", ".yaml").parent == shipped_folder("channels")
    assert "methane" in available("channels", ".yaml")
    assert search_folders("channels")[0] == own


def test_working_in_the_source_tree_looks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shipped_folder("channels").parent)
    assert len(search_folders("channels")) == 1


def test_a_path_is_taken_as_it_is(working_folder: Path) -> None:
    (working_folder / "mine.yaml").write_text("name: mine\n")
    assert find("channels", "mine.yaml", ".yaml") == Path("mine.yaml")
    with pytest.raises(InputFileError, match=r"sub/mine\.yaml: no such channel file"):
        find("channels", "sub/mine.yaml", ".yaml")
    with pytest.raises(InputFileError, match="no such channel file"):
        find("channels", "../water", ".yaml")
