"""A text with command operators."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from tcpmesh.accesslog.fields.value import Value, Yield, cut_to, shown
from tcpmesh.accesslog.operators import OPERATORS, Operators, wanted_by
from tcpmesh.config.fields.operators import Operator
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

log = Logger(namespace="filter")

ABSENT = "-"
"""What a text shows for what is not there."""


class TextFormat:
    """A text with operators.

    :raise FormatError: where Envoy refuses the text.
    """

    __slots__ = ("_absent", "_asks", "_careful", "_template", "wants")

    def __init__(self, text: str, omit_empty: bool = False, known: Operators = OPERATORS) -> None:
        parts = known.parse(text)
        self._absent = "" if omit_empty else ABSENT
        self._template = "".join(
            part.replace("%", "%%") if isinstance(part, str) else "%s" for part in parts
        )
        operators = [part for part in parts if isinstance(part, Operator)]
        self._asks = [_cut(operator, known.build(operator)) for operator in operators]
        self.wants = wanted_by(operators)
        """What it may ask for once a connection is over."""
        self._careful = [
            safe(operator, ask) for operator, ask in zip(operators, self._asks, strict=True)
        ]

    def format(self, info: StreamInfo, at: Moment) -> str:
        """The text for this connection; what is not there is `-`, or nothing with `omit_empty`."""
        try:
            found = [ask(info, at) for ask in self._asks]
            if None not in found:
                return self._template % tuple(found)
            return self._filled(found)
        except Exception:
            # Asked once more, each for itself: most lines need no such care.
            return self._filled([ask(info, at) for ask in self._careful])

    def _filled(self, found: list[Value]) -> str:
        absent = self._absent
        return self._template % tuple([absent if each is None else each for each in found])


def _cut(operator: Operator, ask: Yield) -> Yield:
    """What an operator yields, as text where it may have to be cut."""
    length = operator.length
    if length is None:
        return ask

    def text(info: StreamInfo, at: Moment) -> Value:
        value = shown(ask(info, at))
        return None if value is None else cut_to(value, length)

    return text


def safe(operator: Operator, ask: Yield) -> Callable[[StreamInfo, Moment], str | None]:
    """The text of what `ask` yields, and nothing where it fails: that is a mistake of ours or of
    another package, and logged once.
    """
    failed = False

    def text(info: StreamInfo, at: Moment) -> str | None:
        nonlocal failed
        try:
            return shown(ask(info, at))
        except Exception:
            if not failed:
                failed = True
                log.failure("the operator {name} failed", name=operator.name)
            return None

    return text
