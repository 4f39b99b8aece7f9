"""Statistics show what happens, and nothing goes by them.

A decision that reads a statistic changes when an operator resets it, or when something else counts
under its name, and it is wrong as soon as several workers count each for itself.  What can be read
of a statistic has names of its own, so the text of a module tells whether it reads one, whatever
the type checker knows of the object: by an alias, through `Any`, in a set of gauges.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats.metrics import Counter, Gauge, Histogram, TextReadout

ROOT = Path(__file__).resolve().parent.parent / "tcpmesh"

KINDS = (Counter, Gauge, Histogram, TextReadout)

#: What can be read of a statistic.
READABLE = {"tally", "raised", "lowered", "readout", "was_used", "cumulative", "last_interval"}

#: What is no secret: how it is called, and how it is to be shown and merged.
DESCRIBES = {"name", "unit", "bounds", "holders", "kept", "merge"}

#: How a store is asked for its statistics, and for what they have come to.
ASKS = {"counters", "gauges", "histograms", "text_readouts"}

#: Who shows statistics.
SHOW = {("stats",), ("admin",), ("testing",), ("extensions", "stat_sinks")}


def outside() -> Iterator[Path]:
    """The modules of all other rooms."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        if not SHOW & {parts[:1], parts[:2]}:
            yield path


def readings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines in which something readable is read, and what.

    `counter.tally += 1` is none: Python calls this a store.  A name in a string is one, as it could
    be for `getattr`.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            if node.attr in READABLE | ASKS:
                yield node.lineno, node.attr
        elif isinstance(node, ast.Constant) and node.value in READABLE:
            yield node.lineno, str(node.value)
        elif isinstance(node, ast.MatchClass):
            yield from ((node.lineno, name) for name in node.kwd_attrs if name in READABLE)


def definitions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines in which a class gets an attribute of such a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            name = node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
            name = node.attr
        else:
            continue
        if name in READABLE:
            yield node.lineno, name


class ReadingTests(SynchronousTestCase):
    """Every module of tcpmesh that is not there to show statistics."""

    def assert_none(self, find: str, rule: str) -> None:
        """Fail with one line for each place."""
        look = {"readings": readings, "definitions": definitions}[find]
        wrong = [
            f"{path.relative_to(ROOT.parent)}:{line}: {name}"
            for path in outside()
            for line, name in look(ast.parse(path.read_text(encoding="utf-8")))
        ]
        if wrong:
            self.fail("\n  ".join([rule, *wrong]))

    def test_nothing_is_read(self) -> None:
        """No decision reads a statistic: only what shows statistics does."""
        self.assert_none("readings", "statistics are read only by what shows them:")

    def test_names_are_unambiguous(self) -> None:
        """Nothing else has an attribute of such a name, so that each reading is one."""
        self.assert_none("definitions", "these names belong to statistics:")

    def test_names_are_complete(self) -> None:
        """The test knows all that can be read of a statistic."""
        public = {
            name
            for kind in KINDS
            for name, member in vars(kind).items()
            if not name.startswith("_") and (not callable(member) or isinstance(member, property))
        }

        self.assertEqual(READABLE, public - DESCRIBES)

    def test_finds(self) -> None:
        """The test sees through an alias, `Any`, a comprehension, `getattr` and a pattern; counting
        and setting are no readings.
        """
        for text in (
            "if stats.cx_active.tally > 3: pass",
            "active = gauge; lambda: active.tally",
            "sum(gauge.tally for gauge in gauges)",
            "getattr(counter, 'tally')",
            "store.counters()",
            "match gauge:\n case Gauge(tally=0): pass",
            "x = counter.was_used",
        ):
            self.assertEqual(1, len(list(readings(ast.parse(text)))), text)
        for text in ("counter.tally += 1", "counter.tally = host.total", "gauge.raised += 1"):
            self.assertEqual([], list(readings(ast.parse(text))), text)
