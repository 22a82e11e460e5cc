"""Reading of conditions such as `ker in 20..26 and tof(O+) < 1240 and delay_fs == 100`.

    condition  = joined ("or" joined)*
    joined     = negated ("and" negated)*
    negated    = "not" negated | compared
    compared   = sum (("<" | "<=" | ">" | ">=" | "==" | "!=") sum)+ | sum ["not"] "in" sum ".." sum
               | "inside" "(" region ")" | tag | "(" condition ")"
    sum        = term (("+" | "-") term)*
    term       = factor (("*" | "/") factor)*
    factor     = "-" factor | number | observable ["(" ion ["," ion] ")"] | tag
               | function "(" sum ["," sum] ")" | "tag" "(" name ")" | "(" sum ")"

Ions are written as everywhere (`O2+`, `(CO)2+`, `H+#2` for the second of like ions). Nothing of a
text is run as a program.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, cast, get_args

from molexa_core.base.errors import UnknownIonError, UsageError, listing, near_matches
from molexa_core.base.matter.ions import parse_ion
from molexa_core.observables.catalogue import CATALOGUE, Observable
from molexa_core.observables.tree import (
    FUNCTIONS,
    Arithmetic,
    Between,
    Call,
    Comparison,
    ConditionNode,
    Inside,
    IsSet,
    Logic,
    Node,
    Number,
    NumberNode,
    Quantity,
    Tag,
)

LONGEST: Final = 4000
"""Letters of a condition."""
DEEPEST: Final = 40
"""Parentheses inside each other."""
SHOWN: Final = 72
"""Letters of a condition that a message shows around the fault."""
_NUMBER: Final = re.compile(r"(?:\d+(?:\.(?!\.)\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_SPACE: Final = re.compile(r"\s*")
_COMPARE: Final = re.compile(r"<=|>=|==|!=|<|>")
_LABEL: Final = re.compile(r"(.*?)(?:#([1-9]\d{0,2}))?")
_WORDS: Final = ("and", "or", "not", "in")
INSIDE: Final = "inside"
TAG: Final = "tag"


class ExpressionError(UsageError):
    """A condition that cannot be read or does not fit the events; shows the place.

    Args:
        what: what is wrong.
        text: the condition.
        at: place of the fault, counted from 0.
        do: what to do.
    """

    def __init__(self, what: str, *, text: str, at: int, do: str | None = None) -> None:
        super().__init__(what, do=do)
        self.text, self.at = text, at

    def __str__(self) -> str:
        first = max(0, min(self.at - SHOWN // 2, len(self.text) - SHOWN))
        shown = "".join(
            letter if letter.isprintable() else " " for letter in self.text[first : first + SHOWN]
        )
        before, after = ("..." if first else ""), ("..." if first + SHOWN < len(self.text) else "")
        caret = " " * (len(before) + self.at - first)
        return f"{super().__str__()}\n    {before}{shown}{after}\n    {caret}^"


class Parser:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0
        if len(text) > LONGEST:
            raise UsageError(
                f"a condition of {len(text)} letters", do=f"The longest has {LONGEST}."
            )

    def whole(self) -> Node:
        """The node of the whole text.

        Raises:
            ExpressionError: it cannot be read.
        """
        if not self._text.strip():
            raise self._fault("the condition is empty", at=0)
        node = self._either()
        if self._at < len(self._text):
            raise self._unexpected()
        return node

    def _either(self) -> Node:
        return self._joined_by("or", lambda: self._joined_by("and", self._negated))

    def _joined_by(self, word: str, inner: Callable[[], Node]) -> Node:
        start = self._skip()
        parts = [inner()]
        while self._word(word):
            parts.append(inner())
        if len(parts) == 1:
            return parts[0]
        return Logic(word, tuple(self._condition(part) for part in parts), start)

    def _negated(self) -> Node:
        start = self._skip()
        if not self._word("not"):
            return self._compared()
        self._deeper(start)
        node = Logic("not", (self._condition(self._negated()),), start)
        self._depth -= 1
        return node

    def _compared(self) -> Node:
        start = self._skip()
        left = self._sum()
        comparisons: list[ConditionNode] = []
        while (match := self._match(_COMPARE)) is not None:
            at = self._at - len(match)
            right = self._number(self._sum())
            comparisons.append(Comparison(match, self._number(left), right, at))
            left = right
        if comparisons:
            return (
                comparisons[0] if len(comparisons) == 1 else Logic("and", tuple(comparisons), start)
            )
        return self._in_range(left, start)

    def _in_range(self, left: Node, start: int) -> Node:
        before = self._at
        negated = self._word("not")
        if not self._word("in"):
            self._at = before
            return left
        low = self._number(self._sum())
        if not self._literal(".."):
            raise self._fault("a range needs two dots", do="Write it like 20..26.")
        high = self._number(self._sum())
        if isinstance(low, Number) and isinstance(high, Number) and low.value > high.value:
            raise self._fault(
                f"the range {low.value:g}..{high.value:g} is empty",
                at=low.at,
                do="The lower end comes first.",
            )
        between = Between(self._number(left), low, high, start)
        return Logic("not", (between,), start) if negated else between

    def _sum(self) -> Node:
        start = self._skip()
        node = self._term()
        while (sign := self._sign("+-")) is not None:
            node = Arithmetic(sign, self._number(node), self._number(self._term()), start)
        return node

    def _term(self) -> Node:
        start = self._skip()
        node = self._factor()
        while (sign := self._sign("*/")) is not None:
            node = Arithmetic(sign, self._number(node), self._number(self._factor()), start)
        return node

    def _factor(self) -> Node:
        start = self._skip()
        if self._literal("-"):
            self._deeper(start)
            inner = self._number(self._factor())
            self._depth -= 1
            if isinstance(inner, Number):
                return Number(-inner.value, start)
            return Arithmetic("-", Number(0.0, start), inner, start)
        if self._literal("("):
            self._deeper(start)
            node = self._either()
            self._depth -= 1
            self._close(start)
            return node
        if (number := self._match(_NUMBER)) is not None:
            return Number(float(number), start)
        if (name := self._match(_NAME)) is not None:
            return self._named(name, start)
        raise self._unexpected()

    def _named(self, name: str, start: int) -> Node:
        if name in _WORDS:
            self._at = start
            raise self._unexpected()
        if not self._literal("("):
            if name in CATALOGUE and CATALOGUE[name].ions == 0:
                return Quantity(name, (), start)
            return Tag(name, start)
        if name in (INSIDE, TAG):
            inner = self._raw(start).strip().strip("\"'`")
            return Inside(inner, start) if name == INSIDE else Tag(inner, start)
        if name in FUNCTIONS:
            return self._function(name, start)
        if name in CATALOGUE:
            return self._of_ions(CATALOGUE[name], start)
        names = [*CATALOGUE, *FUNCTIONS, INSIDE, TAG]
        near = near_matches(name, names)
        hint = f"Did you mean {listing(near)}? " if near else ""
        known = listing([one.written for one in CATALOGUE.values()], limit=30)
        raise self._fault(f"unknown observable {name!r}", at=start, do=f"{hint}There are: {known}.")

    def _function(self, name: str, start: int) -> Node:
        self._deeper(start)
        wanted = FUNCTIONS[name][0]
        arguments = [self._number(self._sum())]
        while self._literal(","):
            arguments.append(self._number(self._sum()))
        self._depth -= 1
        self._close(start + len(name))
        if len(arguments) != wanted:
            raise self._fault(
                f"{name} takes {wanted} {'number' if wanted == 1 else 'numbers'}, "
                f"not {len(arguments)}",
                at=start,
            )
        return Call(name, tuple(arguments), start)

    def _of_ions(self, observable: Observable, start: int) -> Node:
        """An observable with the ions behind it, which may hold parentheses and signs."""
        first = self._at
        texts = self._raw(start).split(",")
        if observable.ions == 0:
            raise self._fault(
                f"{observable.name} is of the whole coincidence", at=start, do="Write no ion."
            )
        if len(texts) != observable.ions:
            raise self._fault(
                f"{observable.name} needs {observable.ions} "
                f"{'ion' if observable.ions == 1 else 'ions'}, not {len(texts)}",
                at=start,
                do=f"Write it like {observable.written.replace('ION', 'O+')}.",
            )
        labels, places = [], []
        for text in texts:
            places.append(first + len(text) - len(text.lstrip()))
            labels.append(self._label(text.strip(), places[-1]))
            first += len(text) + 1
        return Quantity(observable.name, tuple(labels), start, tuple(places))

    def _label(self, text: str, at: int) -> str:
        """The label of an ion as `ion_labels` writes it: `H+`, `H+#2`."""
        match = cast("re.Match[str]", _LABEL.fullmatch(text))
        try:
            ion = parse_ion(match[1].strip())
        except UnknownIonError as error:
            raise self._fault(error.what, at=at, do=error.do) from error
        number = int(match[2] or 1)
        return str(ion) if number == 1 else f"{ion}#{number}"

    def _raw(self, start: int) -> str:
        """The text up to the parenthesis that closes the one just opened, which is passed."""
        first, depth = self._at, 1
        while self._at < len(self._text):
            letter = self._text[self._at]
            depth += (letter == "(") - (letter == ")")
            self._at += 1
            if depth == 0:
                return self._text[first : self._at - 1]
        at = self._text.index("(", start)
        raise self._fault("this parenthesis is not closed", at=at)

    def _condition(self, node: Node) -> ConditionNode:
        if isinstance(node, Tag):
            return IsSet(node, node.at)
        if not isinstance(node, get_args(ConditionNode)):
            raise self._fault(
                "this is a number, where a condition is needed",
                at=node.at,
                do="Compare it with something, such as ker > 20.",
            )
        return cast("ConditionNode", node)

    def _number(self, node: Node) -> NumberNode:
        if not isinstance(node, get_args(NumberNode)):
            raise self._fault("this is a condition, where a number is needed", at=node.at)
        return cast("NumberNode", node)

    def _skip(self) -> int:
        match = _SPACE.match(self._text, self._at)
        self._at = self._at if match is None else match.end()
        return self._at

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        self._skip()
        match = pattern.match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match[0]

    def _literal(self, text: str) -> bool:
        self._skip()
        if not self._text.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _sign(self, signs: str) -> str | None:
        self._skip()
        sign = self._text[self._at : self._at + 1]
        if not sign or sign not in signs:
            return None
        self._at += 1
        return sign

    def _word(self, word: str) -> bool:
        before = self._skip()
        if self._match(_NAME) == word:
            return True
        self._at = before
        return False

    def _deeper(self, at: int) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._fault(f"more than {DEEPEST} levels inside each other", at=at)

    def _close(self, opened: int) -> None:
        if not self._literal(")"):
            if self._at >= len(self._text):
                raise self._fault("this parenthesis is not closed", at=opened)
            raise self._unexpected()

    def _unexpected(self) -> ExpressionError:
        at = self._skip()
        rest = self._text[at:]
        if not rest:
            return self._fault("the condition ends here, but something is missing")
        for wrong, right in _HABITS.items():
            if rest.startswith(wrong):
                return self._fault(f"{wrong} has no meaning here", do=f"Write {right}.")
        word = match[0] if (match := _NAME.match(rest)) else rest[0]
        return self._fault(f"{word!r} is not expected here")

    def _fault(self, what: str, *, at: int | None = None, do: str | None = None) -> ExpressionError:
        return ExpressionError(what, text=self._text, at=self._at if at is None else at, do=do)


_HABITS: Final = {
    "&": "and",
    "|": "or",
    "!": "not",
    "=": "== to compare",
    "..": "a range behind `in`, such as ker in 20..26",
    "*": "a product, such as x(O+)*x(O+)",
    "^": "a product, such as x(O+)*x(O+)",
}
"""Signs of other languages, and what is written here."""
