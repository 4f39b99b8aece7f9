"""Expressions in the Common Expression Language, as Envoy understands them.

The library is a wrapper of the one that Envoy itself uses, and comes with the extra `cel`; it is
imported with the first expression.  What makes an evaluation long is refused, as in Envoy: macros
such as `all` and `map`, which go through a list, and programs of regular expressions above a size.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import Any

from google.protobuf.message import Message

from tcpmesh.wire.regex import BadRegex, Regex

LARGEST_REGEX = 100
"""What the program of a regular expression may have, as in Envoy."""

VARIABLES = (
    "connection",
    "destination",
    "filter_state",
    "metadata",
    "request",
    "response",
    "source",
    "upstream",
    "upstream_filter_state",
    "xds",
)
"""What an expression may speak of."""

MISSING = (
    "expressions of CEL need the package cel-expr-python, which is not installed: "
    "pip install 'tcpmesh[cel]' (Python 3.11 or newer)"
)


class BadExpression(ValueError):
    """No expression, or one that Envoy refuses."""


class NoValue(Exception):
    """An expression has no value for this connection: something in it is not there, or cannot be
    computed.
    """


class Expression:
    """One expression, ready to be evaluated.

    :param converts: whether `string` may be called, which makes a text of other values.
    :raise BadExpression: where Envoy refuses the text, or the library is not installed.
    """

    __slots__ = ("_compiled", "names")

    names: Mapping[str, Collection[str] | None]
    """The variables that the expression speaks of, each with the fields of it that are named;
    `None` for all of them.
    """

    def __init__(self, text: str, converts: bool = False) -> None:
        environment = _environment()
        self._build(lambda: environment.compile(text, disable_check=True), converts)

    @classmethod
    def of_message(cls, message: Message, converts: bool = False) -> Expression:
        """One that was parsed already: a `google.api.expr.v1alpha1.Expr`.

        :raise BadExpression: where Envoy refuses it, or the library is not installed.
        """
        environment = _environment()
        if message.WhichOneof("expr_kind") is None:
            raise BadExpression("an empty expression")
        made = cls.__new__(cls)
        made._build(lambda: environment.deserialize(_serialized(message)), converts)
        return made

    def _build(self, compiled: Callable[[], Any], converts: bool) -> None:
        try:
            self._compiled = compiled()
        except RuntimeError as error:
            raise BadExpression(_first_line(str(error))) from None
        self.names = _names(_parsed(self._compiled), _KNOWN | {"string"} if converts else _KNOWN)

    def value(self, variables: Mapping[str, Any]) -> Any:
        """What the expression comes to: a value of the library (`type()`, `value()`).

        :raise NoValue: where it comes to nothing.
        """
        try:
            found = self._compiled.eval(data=variables)
        except RuntimeError as error:
            raise NoValue(str(error)) from None
        if found.type().name() in ("ERROR", "UNKNOWN"):
            raise NoValue(str(found.value()))
        return found


@cache
def _environment() -> Any:
    """:raise BadExpression: where the library is not installed."""
    try:
        from cel_expr_python import cel
    except ImportError:
        raise BadExpression(MISSING) from None
    return cel.NewEnv(variables=dict.fromkeys(VARIABLES, cel.Type.DYN))


def _first_line(text: str) -> str:
    return text.partition("\n")[0].removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: ")


def _serialized(message: Message) -> bytes:
    """A parsed expression as the library takes it, whose messages have the same wire form."""
    from cel.expr import syntax_pb2
    from google.protobuf.any_pb2 import Any as AnyMessage

    parsed = syntax_pb2.ParsedExpr()
    parsed.expr.MergeFromString(message.SerializeToString())
    packed = AnyMessage()
    packed.Pack(parsed)
    return packed.SerializeToString()


def _parsed(compiled: Any) -> Any:
    """The `cel.expr.Expr` at the root."""
    from cel.expr import syntax_pb2
    from google.protobuf.any_pb2 import Any as AnyMessage

    parsed = syntax_pb2.ParsedExpr()
    AnyMessage.FromString(compiled.serialize()).Unpack(parsed)
    return parsed.expr


#: Envoy knows these, and no others: it adds `re.*`, and leaves out `string`.
_FUNCTIONS = """
    size startsWith endsWith contains matches int uint double bytes dyn type timestamp duration
    getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes
    getSeconds getMilliseconds
    """
_KNOWN = frozenset(_FUNCTIONS.split())


def _check_call(call: Any, known: Collection[str]) -> None:
    """See to it that there is a function of this name, and that a regular expression is one."""
    name = call.function
    if name[:1].isalpha() and name not in known:
        raise BadExpression(f"there is no function {name}")
    if name == "matches" and call.args and call.args[-1].const_expr.string_value:
        try:
            size = Regex(call.args[-1].const_expr.string_value).size
        except BadRegex as error:
            raise BadExpression(f"no regular expression of RE2: {error}") from None
        if size > LARGEST_REGEX:
            raise BadExpression(
                f"the program of this regular expression has size {size}, and {LARGEST_REGEX} is "
                "the most"
            )


def _inner(expr: Any, known: Collection[str]) -> Iterator[Any]:
    """The expressions right inside of one."""
    kind = expr.WhichOneof("expr_kind")
    if kind == "select_expr":
        yield expr.select_expr.operand
    elif kind == "call_expr":
        _check_call(expr.call_expr, known)
        if expr.call_expr.HasField("target"):
            yield expr.call_expr.target
        yield from expr.call_expr.args
    elif kind == "list_expr":
        yield from expr.list_expr.elements
    elif kind == "struct_expr":
        for entry in expr.struct_expr.entries:
            if entry.HasField("map_key"):
                yield entry.map_key
            yield entry.value
    elif kind == "comprehension_expr":
        raise BadExpression("macros that go through a list are not for access logs")


def _names(root: Any, known: Collection[str]) -> dict[str, set[str] | None]:
    names: dict[str, set[str] | None] = {}
    waiting = [root]
    while waiting:
        expr = waiting.pop()
        name, field = _field_of(expr)
        if not name:
            waiting += _inner(expr, known)
        elif field:
            fields = names.setdefault(name, set())
            if fields is not None:
                fields.add(field)
        else:
            names[name] = None
    return names


def _field_of(expr: Any) -> tuple[str, str]:
    """The variable and its field that an expression is, such as `source.address` or
    `source["address"]`; empty where it is another.
    """
    kind = expr.WhichOneof("expr_kind")
    operand: Any = None
    field = ""
    if kind == "ident_expr":
        return expr.ident_expr.name, ""
    if kind == "select_expr":
        operand, field = expr.select_expr.operand, expr.select_expr.field
    elif kind == "call_expr" and expr.call_expr.function == "_[_]":
        operand, field = expr.call_expr.args[0], expr.call_expr.args[1].const_expr.string_value
    if field and operand.WhichOneof("expr_kind") == "ident_expr":
        return operand.ident_expr.name, field
    return "", ""
