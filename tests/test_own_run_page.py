"""The tutorial on an own run is a session: its commands run and print what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.fakes.own_apparatus import write_their_run
from tests.fakes.printed import says

PAGE = Path(__file__).resolve().parent.parent / "docs" / "own-run.md"
TEXT = PAGE.read_text(encoding="utf-8").replace("\\\n   ", "")
SESSIONS = re.findall(r"^```text\n\$ (.*)\n((?:.*\n)*?)```", TEXT, re.MULTILINE)
INSTALLATION = re.findall(r"^```sh\n((?:.*\n)*?)```", TEXT, re.MULTILINE)
MOST_COMMANDS = 8
KNOWN = {"O2+-C2+": 1.157, "C2+-S2+": 1.560}
"""Bond lengths of OCS in the library, Å."""


def test_it_takes_few_commands_and_no_file_is_written_by_hand() -> None:
    install = [line for block in INSTALLATION for line in block.splitlines()]
    assert len(install) == 1
    assert len(install) + len(SESSIONS) <= MOST_COMMANDS
    assert all(command.startswith("molexa ") for command, _ in SESSIONS)


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("time zero  0  21.6  0.11  ns", True),
        ("time zero  0  25.0  0.11  ns", False),
        ("time nil  0  21.6  0.11  ns", False),
        ("O2+-C2+ 1.18", False),
    ],
)
def test_what_is_not_printed_is_noticed(line: str, same: bool) -> None:
    assert says("quantity\ntime zero       0       21.58    0.11            ns\n", line) is same


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_page_is_what_happens(molexa: Run, working_folder: Path) -> None:
    write_their_run(working_folder / "run.root", shots=60_000, seed=5)
    printed = {}
    for command, lines in SESSIONS:
        done = molexa(*shlex.split(command)[1:], folder=working_folder)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        said = printed[shlex.split(command)[1]] = done.stdout + done.stderr
        for line in lines.splitlines():
            assert says(said, line), f"{command} does not print\n{line}\nbut\n{said}"
    for bond, length in KNOWN.items():
        row = re.search(rf"^{re.escape(bond)} +bond +(.*)$", printed["reconstruct"], re.MULTILINE)
        assert row is not None
        mean, statistical, systematic = (float(word) for word in row[1].split()[:3])
        assert abs(mean - length) < 2.0 * (statistical**2 + systematic**2) ** 0.5
        report = (working_folder / "report.html").read_text(encoding="utf-8")
        atoms = "–".join(rf"{ion[0]}\d" for ion in bond.split("-"))
        assert re.search(rf"{atoms}\D", report), "atoms have the names of the viewer"
        assert f"{mean:.3f}" in report
