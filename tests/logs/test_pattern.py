"""Formats of log lines, flag by flag, as Envoy 1.40 writes them."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh import __version__
from tcpmesh.logs.levels import Levels
from tcpmesh.logs.log import Log
from tcpmesh.logs.pattern import (
    DEFAULT_PATTERN,
    ELAPSED,
    FLAGS,
    UNPADDED,
    Location,
    Record,
    escaped,
    json_pattern,
    line_of,
)

MOMENT = time.mktime((2026, 11, 29, 21, 9, 51, 0, 0, -1)) + 0.5859375


def record(text: str = "initializing", level: str = "info", seconds: float = MOMENT) -> Record:
    """An event of Envoy's start."""
    where = Location("source/server/server.cc", 463, "initializeOrThrow")
    return Record(text, level, "main", seconds, where)


class FlagTests(SynchronousTestCase):
    """What each flag stands for."""

    def assert_lines(self, *expected: tuple[str, str]) -> None:
        """These patterns make these lines of the event."""
        for pattern, line in expected:
            self.assertEqual(line, line_of(pattern)(record()), pattern)

    def test_text(self) -> None:
        """The text, the level in two forms, the logger, and a percent sign."""
        self.assert_lines(
            ("%v", "initializing"), ("%l %L", "info I"), ("[%n]", "[main]"), ("%%|%%v", "%|%v")
        )
        for level, letter in (("trace", "T"), ("warning", "W"), ("critical", "C")):
            self.assertEqual(letter, line_of("%L")(record(level=level)))

    def test_times(self) -> None:
        """The local time, whole and in parts."""
        self.assert_lines(
            ("%Y-%m-%d", "2026-11-29"),
            ("%H|%M|%S|%T|%X|%R", "21|09|51|21:09:51|21:09:51|21:09"),
            ("%a|%A|%b|%B|%h", "Sun|Sunday|Nov|November|Nov"),
            ("%C|%D|%x|%I|%p|%r", "26|11/29/26|11/29/26|09|PM|09:09:51 PM"),
            ("%c", "Sun Nov 29 21:09:51 2026"),
            ("%e|%f|%F|%E", f"585|585937|585937500|{int(MOMENT)}"),
        )

    def test_first_of_the_month(self) -> None:
        """A day below ten has one digit in %c, as spdlog has it, and midnight is twelve."""
        at = time.mktime((2026, 2, 1, 0, 5, 0, 0, 0, -1))
        self.assertEqual("Sun Feb 1 00:05:00 2026|12 AM", line_of("%c|%I %p")(record(seconds=at)))

    def test_zone(self) -> None:
        """How far the local time is from UTC, also by half hours."""
        self.addCleanup(time.tzset)
        self.addCleanup(os.environ.__setitem__, "TZ", os.environ.get("TZ", ""))
        for zone, text in (
            ("XXX-5:30", "+05:30"),
            ("YYY3:30", "-03:30"),
            ("ZZZ-12", "+12:00"),
            ("UTC", "+00:00"),
        ):
            os.environ["TZ"] = zone
            time.tzset()
            self.assertEqual(text, line_of("%z")(record()))

    def test_process(self) -> None:
        """The process and the thread by their numbers; what this is, in the place of Envoy's
        version.
        """
        self.assert_lines(
            ("%P", str(os.getpid())), ("%t", str(threading.get_native_id())), ("%N", __version__)
        )

    def test_source(self) -> None:
        """Where in the source it was logged: path, name of the file, line, function."""
        self.assert_lines(
            ("%g:%#", "source/server/server.cc:463"),
            ("%@", "source/server/server.cc:463"),
            ("%s %!", "server.cc initializeOrThrow"),
        )

    def test_elapsed(self) -> None:
        """How long after the line before: micro-, milli-, nano- and whole seconds."""
        line = line_of("%i %o %u %O")
        line(record(seconds=1000.0))
        self.assertEqual("2500000 2500 2500000000 2", line(record(seconds=1002.5)))
        self.assertEqual("0 0 0 0", line(record(seconds=900.0)), "a clock that was set back")

    def test_colours(self) -> None:
        """What begins and ends a colour is nothing, for nothing is coloured."""
        self.assert_lines(("%^%l%$%&", "info"))

    def test_width(self) -> None:
        """A width pads on the left, on the right or on both sides, up to 64 columns."""
        self.assert_lines(
            ("%8l|", "    info|"),
            ("%-8l|", "info    |"),
            ("%=8l|", "  info  |"),
            ("%=9l|", "  info   |"),
            ("%08l|", "    info|"),
            ("%3l|", "info|"),
            ("%-l|", "info|"),
            ("%100l", " " * 60 + "info"),
            (f"%{'9' * 5000}l", " " * 60 + "info"),
            (f"%{'0' * 5000}8l|", "    info|"),
            ("%8%|", "%|"),
        )

    def test_cut(self) -> None:
        """An exclamation mark cuts what is wider."""
        self.assert_lines(("%3!l", "inf"), ("%-3!n", "mai"), ("%6!l|", "  info|"))

    def test_function_or_cut(self) -> None:
        """Where no flag can follow it, the mark is the flag of the function."""
        self.assert_lines(
            ("%3!k", "initializeOrThrowk"), ("%!5l", "initializeOrThrow5l"), ("%5!!l", "initil")
        )

    def test_unknown(self) -> None:
        """A flag that there is not stays, without its width; a percent sign at the end goes."""
        self.assert_lines(
            ("%k %q", "%k %q"), ("%8k", "%k"), ("%=8k", "%k"), ("x%", "x"), ("x%-", "x"), ("%8", "")
        )

    def test_nothing(self) -> None:
        """An empty pattern makes empty lines."""
        self.assert_lines(("", ""), ("plain", "plain"))


class TextFlagTests(SynchronousTestCase):
    """Flags of Envoy's own."""

    def test_newlines(self) -> None:
        """%_ is the text in one line, %j the text as it stands in a JSON string."""
        event = record('one\ntwo "three" \\')
        self.assertEqual('one\\ntwo "three" \\', line_of("%_")(event))
        self.assertEqual('one\\ntwo \\"three\\" \\\\', line_of("%j")(event))

    def test_tags(self) -> None:
        """%* is the connection as JSON that goes on an object, %+ and %j the text without it; no
        width counts.
        """
        event = record("[C7] closed")
        self.assertEqual(
            ',"ConnectionId":"7"|closed|closed|[C7] closed', line_of("%*|%20+|%j|%v")(event)
        )
        self.assertEqual("|initializing", line_of("%*|%+")(record()))


class EscapedTests(SynchronousTestCase):
    """--log-format-escaped."""

    def test_as_in_c(self) -> None:
        """Line ends, quotes, backslashes and whatever is not printable ASCII are escaped."""
        self.assertEqual(
            "\\303\\274\\001\\177\\t\\n\\r\\'\\\"\\\\ x", escaped("\xfc\x01\x7f\t\n\r'\"\\ x")
        )

    def test_any(self) -> None:
        """There is no text that cannot be."""
        self.assertEqual("\\\\udcff", escaped("\udcff"))


class JsonTests(SynchronousTestCase):
    """Lines that are JSON objects."""

    def test_values(self) -> None:
        """Texts are patterns, names too; all other values stay what they are."""
        pattern = json_pattern(
            {
                "level": "%l",
                "text": "%j",
                "n": 5,
                "yes": True,
                "nothing": None,
                "in": {"logger": "%n", "list": ["%L", 2]},
                "k%l": "%8l|",
            }
        )
        self.assertEqual(
            {
                "level": "info",
                "text": 'so "it" is\n',
                "n": 5,
                "yes": True,
                "nothing": None,
                "in": {"logger": "main", "list": ["I", 2]},
                "kinfo": "    info|",
            },
            json.loads(line_of(pattern)(record('so "it" is\n'))),
        )

    def test_refused(self) -> None:
        """What would put the text as it is between quotes is refused, wherever it stands."""
        for flag in ("%v", "%_"):
            for values in ({"a": flag}, {flag: 1}, {"a": ["x", {"b": f"x{flag}"}]}):
                self.assertIn(flag, str(self.assertRaises(ValueError, json_pattern, values)))

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Whatever is logged, the line is JSON that has it."""
        line = line_of(json_pattern({"text": "%j"}))(Record(text, "info", "main", 0.0))
        self.assertEqual(text, json.loads(line)["text"] if "[C" not in text else text)


class AnyPatternTests(SynchronousTestCase):
    """Whatever a user writes."""

    @given(
        st.lists(
            st.one_of(
                st.sampled_from(["%", "%-", "%=", "!", "8", "64", "999999999999"]),
                st.sampled_from(sorted({*FLAGS, *ELAPSED, *UNPADDED})),
                st.text(max_size=3),
            )
        )
    )
    def test_no_error(self, parts: list[str]) -> None:
        """Any text is a pattern and makes a line, of bounded size."""
        pattern = "".join(parts)
        line = line_of(pattern)(record())
        self.assertLessEqual(len(line), 64 * (len(pattern) + 1))


class LocationTests(SynchronousTestCase):
    """Where an event was logged."""

    def test_of_this_file(self) -> None:
        """It is the line that called the logger, with its path from the package on."""
        lines: list[Any] = []
        log = Log(Levels("info", {}), pattern="%g|%s|%!|%v")
        self.patch(log, "_output", None)
        self.patch(
            log, "_stderr", type("File", (), {"write": lambda _, text: lines.append(text)})()
        )
        Logger(namespace="main", observer=log).info("here")
        self.assertEqual(
            ["tests/logs/test_pattern.py|test_pattern.py|test_of_this_file|here\n"], lines
        )

    def test_of_nobody(self) -> None:
        """Where nothing but the logger itself is on the stack there is none."""
        self.assertNotIn("logs/pattern", line_of("%@")(Record("x", "info", "main", 0.0)))


class DefaultTests(SynchronousTestCase):
    """A line where nobody says what it looks like."""

    def test_default(self) -> None:
        """It is Envoy's without the place in the source."""
        self.assertRegex(
            line_of(DEFAULT_PATTERN)(record()),
            r"^\[2026-11-29 21:09:51\.585\]\[\d+\]\[info\]\[main\] initializing$",
        )
