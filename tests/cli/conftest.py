"""Running the program as a user does: the fixture stands in `tests/conftest.py`."""

from __future__ import annotations

from tests.conftest import Run

__all__ = ["Run"]
