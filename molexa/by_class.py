"""Functions of results that are chosen by the class of the result, none of which is loaded for it.

A class is registered (`functools.singledispatch`) when a result from its module is met for the
first time: that module is loaded already, and no other is. So coincidences are shown without
PyTorch, which the structures of single events need.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import singledispatch
from types import ModuleType
from typing import Any, Generic, TypeVar

T = TypeVar("T")
OfClass = Mapping[type, Callable[..., T]]
Classes = Callable[[Any], OfClass[T]]
"""From a loaded module the functions of its classes."""


class ByClass(Generic[T]):
    """A function of a result, one for each class; that of a base class serves those below it.

    Args:
        otherwise: for a result of any other class.
        modules: by name of a module what gives the functions of its classes.

    Example:
        >>> of_fraction = {"fractions": lambda module: {module.Fraction: lambda it: it.numerator}}
        >>> top = ByClass(lambda it: 0, of_fraction)
        >>> from fractions import Fraction
        >>> top(Fraction(2, 3)), top("text")
        (2, 0)
    """

    def __init__(self, otherwise: Callable[..., T], modules: Mapping[str, Classes[T]]) -> None:
        self._chosen = singledispatch(otherwise)
        self.modules = modules
        self._met: set[str] = set()

    def __call__(self, result: Any, *further: Any) -> T:
        """What the function of the class of the result gives for it.

        Args:
            result: what the function is chosen by.
            further: arguments behind it.
        """
        for of in type(result).__mro__:
            name = of.__module__
            if name in self.modules and name not in self._met:
                self._met.add(name)
                self._register(self.modules[name], sys.modules[name])
        return self._chosen(result, *further)

    def _register(self, classes: Classes[T], module: ModuleType) -> None:
        for of, function in classes(module).items():
            self._chosen.register(of, function)
