from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from molexa_cli.completion import SCRIPTS

CANDIDATES = ["px(S+)", "ker", "delay time", "a/b/"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("typed", ["p", "'p", '"p'])
def test_bash_inserts_words_that_it_reads_back_as_they_are(tmp_path: Path, typed: str) -> None:
    """Parentheses and blanks are quoted, but not behind a quote that the user has opened."""
    program = tmp_path / "molexa"
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{one}'\n" for one in CANDIDATES))
    program.chmod(0o755)
    quote = {"'": "\\'", '"': '\\"'}.get(typed[0], "")
    lines = [
        SCRIPTS["bash"],
        'COMP_WORDS=(molexa plot --x "$1") COMP_CWORD=3',
        f"_molexa_completion {program}",
        'for one in "${COMPREPLY[@]}"; do',
        f'  eval "words=("{quote}"$one"{quote}")"',
        '  printf "%s\\n" "${#words[@]}" "${words[0]}"',
        "done",
    ]
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(lines), "bash", typed],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    expected = [part for one in CANDIDATES for part in ("1", one)]
    assert done.stdout.splitlines() == expected
