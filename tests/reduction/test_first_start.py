"""What other processes compile for `reduce` is what `reduce` calls."""

from __future__ import annotations

from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.mock import default_setup, mock
from molexa_core.reduction import first_start


def test_the_types_are_those_of_reduce() -> None:
    """Functions for other types would be compiled in vain, and then once more."""
    run = mock("water", 1500, setup=default_setup(), seed=3)
    assert len(reduce(run).table)
    functions = [one for makes in first_start.REDUCE.values() for one in makes]
    before = [set(one.signatures) for one in functions]
    first_start.compile_verdict()
    first_start.compile_mixing()
    assert all(before)
    assert [set(one.signatures) for one in functions] == before


def test_the_makers_are_there() -> None:
    for maker in first_start.REDUCE:
        module, name = maker.split(":")
        assert module == first_start.__name__
        assert callable(getattr(first_start, name))
