"""Which rows a query string wants."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.live.matching import (
    MOST_ROWS,
    BadQuery,
    close_query,
    connection_query,
    matcher,
    reader,
)
from tcpmesh.values.stream.live import (
    CONNECTION_FIELDS,
    CloseQuery,
    ConnectionQuery,
    FieldFilter,
    FieldKind,
)

WANTED: tuple[tuple[str, str, list[Any], list[Any]], ...] = (
    ("cluster", "db", ["db"], ["db2", "", "DB"]),
    ("cluster", "~^d", ["db", "d"], ["adb", ""]),
    ("sni", "~a.c", ["xabcx"], ["ac"]),
    ("id", "7", [7], [70, 6]),
    ("age", ">1.5", [1.6, 100], [1.5, 0]),
    ("rtt", "<200", [0, 199], [200, None]),
    ("idle", "0", [0, 0.0], [1, None]),
    ("client", "10.0.0.3:80", ["10.0.0.3:80"], ["10.0.0.3:8080", "10.0.0.30:80"]),
    ("client", "10.0.0.3", ["10.0.0.3:80", "10.0.0.3"], ["10.0.0.30:80", "110.0.0.3:80"]),
    ("client", "10.1.", ["10.1.2.3:1", "10.1.0.1:80"], ["10.10.0.1:80", "10.2.1.1:10"]),
    ("client", "10.0.0.3:", ["10.0.0.3:1"], ["10.0.0.30:1"]),
    ("client", "10.0.0.0/8", ["10.9.8.7:80"], ["11.0.0.1:80", "[::1]:80", "/run/x", ""]),
    ("client", "10.0.0.5/8", ["10.9.8.7:80"], ["11.0.0.1:80"]),
    ("client", "fe80::/10", ["[fe80::1]:80"], ["[::1]:80", "10.0.0.1:1"]),
    ("host", "::1", ["[::1]:80"], ["[::11]:80", "[::]:80"]),
    ("host", "[::1]", ["[::1]:80"], ["[::11]:80"]),
    ("host", "[::1]:80", ["[::1]:80"], ["[::1]:8080"]),
    ("host", "/run/db.sock", ["/run/db.sock"], ["/run/db.sock2", "10.0.0.1:1"]),
    ("host", "@name", ["@name"], ["@names"]),
    ("local", "~:443$", ["10.0.0.1:443", "[::1]:443"], ["10.0.0.1:4430"]),
)

TEXTS = st.text(max_size=30) | st.sampled_from(["~(", "10.0.0.0/99", ">", "<x", "1/2", "[", "]:"])


class MatcherTests(SynchronousTestCase):
    """One field."""

    def test_matches(self) -> None:
        """A value is a wanted one where it is equal, or found, or in a prefix, and never because
        another address begins in the same way.
        """
        for field, text, fit, others in WANTED:
            matches = matcher(FieldFilter(field, text))
            for value in fit:
                self.assertTrue(matches(value), (field, text, value))
            for value in others:
                self.assertFalse(matches(value), (field, text, value))

    def test_refused(self) -> None:
        """What is no field, number, prefix or expression is refused by name."""
        for field, text, words in (
            ("clustre", "x", "did you mean 'cluster'"),
            ("x" * 5000, "x", "there are id, worker"),
            ("id", "seven", "id: a number is wanted, not 'seven'"),
            ("age", ">nan", "age: a number"),
            ("cluster", "~(", "cluster: missing"),
            ("client", "10.0.0.0/99", "client: "),
        ):
            error = self.assertRaises(BadQuery, matcher, FieldFilter(field, text))
            self.assertIn(words, str(error))
            self.assertTrue(len(str(error)) < 500)

    @given(st.sampled_from(list(CONNECTION_FIELDS)), TEXTS, TEXTS | st.integers() | st.none())
    def test_never_raises(self, field: str, text: str, value: object) -> None:
        """Whatever is asked for is refused or can be held against any value of its kind."""
        try:
            matches = matcher(FieldFilter(field, text))
        except BadQuery:
            return
        is_number = CONNECTION_FIELDS[field].value == "number"
        if isinstance(value, str) is not is_number and (is_number or value is not None):
            matches(value)


class QueryTests(SynchronousTestCase):
    """Whole queries."""

    def test_connections(self) -> None:
        """`sort` and `limit` are what they say, every other parameter is a field, and one without a
        value says nothing.
        """
        asked = {"sort": "-sent", "limit": "5", "cluster": "db", "host": ""}
        self.assertEqual(
            ConnectionQuery((FieldFilter("cluster", "db"),), "sent", True, 5),
            connection_query(asked),
        )
        self.assertEqual(ConnectionQuery(), connection_query({}))

    def test_closes(self) -> None:
        """Connections that have ended have fields of their own."""
        asked = {"by": "upstream", "limit": "5"}
        self.assertEqual(CloseQuery((FieldFilter("by", "upstream"),), 5), close_query(asked))
        self.assertRaises(BadQuery, close_query, {"rtt": "1"})
        self.assertRaises(BadQuery, connection_query, {"by": "upstream"})

    def test_refused(self) -> None:
        """A field to sort by that is not there, and a limit that is none, are refused."""
        for asked in (
            {"sort": "size"},
            {"sort": "--age"},
            *({"limit": each} for each in ("0", "-1", "x", str(MOST_ROWS + 1), "9" * 5000)),
        ):
            self.assertRaises(BadQuery, connection_query, asked)


class SearchTests(SynchronousTestCase):
    """What is looked for in all fields."""

    def test_search(self) -> None:
        """One of the texts or addresses of a row has to contain it, whatever the case."""
        row = dict.fromkeys(CONNECTION_FIELDS, 7) | {
            name: "" for name, kind in CONNECTION_FIELDS.items() if kind is not FieldKind.NUMBER
        }
        row |= {"sni": "Orders.test", "client": "10.0.0.3:80"}
        read = reader("search", CONNECTION_FIELDS, itemgetter)
        for text, is_there in (("orders", True), ("0.3:", True), ("7", False), ("ö", False)):
            matches = matcher(FieldFilter("search", text))
            self.assertEqual(is_there, matches(read(row)), text)
        self.assertEqual((FieldFilter("search", "x"),), connection_query({"search": "x"}).filters)
