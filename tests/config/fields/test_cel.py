"""Expressions of CEL: which ones Envoy takes, and what they come to."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields import cel
from tcpmesh.config.fields.cel import MISSING, BadExpression, Expression, NoValue
from tests.extras import needs_cel

#: Expressions that Envoy 1.40 took.
TAKEN = """
connection.id
"a"+"b"
a.b.c
timestamp("x")
request.headers["a"]
"a".startsWith("b")
int("5")
bytes("5")
dyn(1)
size("a")
1 ? 2 : 3
nonsense
google.protobuf.Struct{}
1 in [1,2] && !("x" in {"x": 1}) && -1 < 2.5
type(1) == int
"""

#: Expressions that Envoy 1.40 refused.
REFUSED = """
1+
string(1)
[1].all(x, x>0)
[1,2].map(x, x)
[1,2].exists(x, x>0)
"a".matches("(")
"a".matches("a{200}")
nope(1)
has(source)
"a".lowerAscii()
"a".split("b")
"a".upper()
math.abs(1)
cel.bind(x,1,x)
optional.of(1)
"\\udcff"
"""


@needs_cel
class ExpressionTests(SynchronousTestCase):
    """A text and what it comes to."""

    def test_taken(self) -> None:
        """What Envoy takes is taken."""
        for text in TAKEN.strip().splitlines():
            Expression(text)

    def test_refused(self) -> None:
        """What Envoy refuses is refused, and so is what is nested without end."""
        for text in ["", *REFUSED.strip().splitlines(), "(" * 5000 + "1" + ")" * 5000]:
            self.assertRaises(BadExpression, Expression, text)

    def test_value(self) -> None:
        """An expression comes to a value, or to none where something is not there."""
        given = {"source": {"port": 80}}
        self.assertEqual(Expression("source.port + 1").value(given).value(), 81)
        for text in ("source.address", "nope", "1/0", "has(xds.node)", '"a".matches(source.port)'):
            self.assertRaises(NoValue, Expression(text).value, given)

    def test_what_the_library_does_not_take(self) -> None:
        """A text that is no UTF-8 is no value either."""
        self.assertRaises(
            NoValue, Expression("source.address").value, {"source": {"address": "\udcff"}}
        )

    def test_names(self) -> None:
        """An expression tells which fields of which variables it needs."""
        names = {
            'source.address == "a" && source["port"] > 1': {"source": {"address", "port"}},
            "source": {"source": None},
            "has(xds.node.id) || source.port == 1 || source == source": {
                "xds": {"node"},
                "source": None,
            },
            '[connection.id, {"a": upstream.port}]': {"connection": {"id"}, "upstream": {"port"}},
            "1": {},
        }
        for text, expected in names.items():
            self.assertEqual(Expression(text).names, expected, text)


class MissingTests(SynchronousTestCase):
    """Where the library is not installed."""

    def test_said(self) -> None:
        """The error says how to get it."""
        cel._environment.cache_clear()
        self.addCleanup(cel._environment.cache_clear)
        if find_spec("cel_expr_python") is not None:
            library = import_module("cel_expr_python")
            self.addCleanup(sys.modules.__setitem__, "cel_expr_python", library)
            sys.modules["cel_expr_python"] = None  # type: ignore[assignment]
        error = self.assertRaises(BadExpression, Expression, "1")
        self.assertEqual(str(error), MISSING)
