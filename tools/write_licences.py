"""Write `docs/licences.md`: versions and licences of all packages that molexa depends on.

    python tools/write_licences.py            from the packages of this environment
    python tools/write_licences.py --check    fail where the page is not that of constraints.txt

Taken from the metadata of the installed packages that `constraints.txt` names. Licences that reach
to changes of the package are marked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "licences.md"
COPYLEFT: Final = re.compile(
    r"\b(?:A|L)?GPL|General Public|\bMPL\b|Mozilla|\bEPL\b|\bEUPL\b", re.IGNORECASE
)
LONG: Final = 60
HEAD: Final = """\
# Licences of what molexa is installed with

Written by `tools/write_licences.py` from the metadata of the packages that `constraints.txt` has:
what molexa needs to run, and what its extras `molecules`, `parquet`, `cluster`, `docs` and `dev`
add. molexa itself is under BSD-3-Clause and contains none of them. Marked licences are of the GPL
and MPL kind: they reach to changes of the package itself when it is passed on.

| package | version | licence | marked |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """A package and its licence."""

    name: str
    version: str
    licence: str

    @property
    def marked(self) -> bool:
        """Whether it is a licence that reaches to changes of the package."""
        return bool(COPYLEFT.search(self.licence))


def pinned() -> dict[str, str]:
    """Version by name."""
    rows = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(row.split("==") for row in rows if row and not row.startswith("#"))


def licence_of(package: Distribution) -> str:
    """The licence in words: the expression, else the classifiers, else a short text."""
    meta = package.metadata
    if said := meta.get("License-Expression"):
        return str(said)
    names = [
        text.split(" :: ")[-1]
        for text in meta.get_all("Classifier") or []
        if text.startswith("License :: ") and text != "License :: OSI Approved"
    ]
    if names:
        return ", ".join(sorted(set(names)))
    lines = str(meta.get("License") or "").strip().splitlines()
    return lines[0][:LONG] if lines and lines[0].strip() else "not stated"


def rows() -> list[Row]:
    """Every package of `constraints.txt` that is installed.

    Raises:
        SystemExit: one is not, or in another version.
    """
    found, missing = [], []
    for name, version in sorted(pinned().items(), key=lambda item: item[0].lower()):
        try:
            package = distribution(name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        if package.version.split("+")[0] != version:
            missing.append(f"{name} (here {package.version}, pinned {version})")
        found.append(Row(name, version, licence_of(package)))
    if missing:
        sys.exit(f"not installed as pinned: {', '.join(missing)}; see requirements-hashes.txt")
    return found


def page(found: Iterable[Row]) -> str:
    """The page."""
    lines = [
        f"| {row.name} | {row.version} | {row.licence.replace('|', '/')} | "
        f"{'yes' if row.marked else ''} |"
        for row in found
    ]
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    """Write the page, or compare it."""
    if "--check" in sys.argv[1:]:
        text = PAGE.read_text(encoding="utf-8")
        if dict(re.findall(r"^\| (\S+) \| (\d\S*) \|", text, re.MULTILINE)) != pinned():
            sys.exit("docs/licences.md is not that of constraints.txt; run tools/write_licences.py")
        return
    found = rows()
    PAGE.write_text(page(found), encoding="utf-8")
    marked = [row.name for row in found if row.marked]
    print(f"{len(found)} packages; marked: {', '.join(marked) or 'none'}")


if __name__ == "__main__":
    main()
