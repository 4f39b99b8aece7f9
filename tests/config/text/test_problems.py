"""What is wrong with a configuration, and how it is said."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import text

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.text.problems import (
    LINE_BREAK,
    PRINTED,
    ConfigError,
    Place,
    Problem,
    lines_of,
    path_text,
    render,
)


def problem(line: int, text: str = "wrong", column: int = 1) -> Problem:
    """A problem on a line."""
    return Problem(Place("envoy.yaml", line, column), "static_resources", text)


class ProblemTests(SynchronousTestCase):
    """A single problem."""

    def test_text(self) -> None:
        """A problem reads as file:line:column: path: what is wrong (hint)."""
        wrong = Problem(
            Place("envoy.yaml", 12, 9),
            "static_resources.listeners[0].nam",
            "unknown field",
            hint="did you mean 'name'?",
        )

        self.assertEqual(
            "envoy.yaml:12:9: static_resources.listeners[0].nam: unknown field (did you mean "
            "'name'?)",
            str(wrong),
        )

    def test_warning(self) -> None:
        """A warning says that it is one."""
        self.assertEqual(
            "a.yaml:1:2: x: warning: odd",
            str(Problem(Place("a.yaml", 1, 2), "x", "odd", "warning")),
        )

    def test_without_a_line(self) -> None:
        """A file without lines is named alone."""
        self.assertEqual("a.pb: not readable", str(Problem(Place("a.pb"), "", "not readable")))

    def test_for_machines(self) -> None:
        """Machines get file, line, column, path, severity, message and hint."""
        expected = {
            "file": "envoy.yaml",
            "line": 3,
            "column": 4,
            "path": "static_resources",
            "severity": "error",
            "message": "wrong",
            "hint": "",
        }

        self.assertEqual(expected, problem(3, column=4).as_dict())

    def test_path(self) -> None:
        """Indexes and keys that are no identifiers stand in brackets."""
        self.assertEqual('a[0].b["envoy.lb"].@type', path_text(("a", 0, "b", "envoy.lb", "@type")))


class ConfigErrorTests(SynchronousTestCase):
    """All problems of a configuration."""

    def test_order(self) -> None:
        """Problems are sorted as they stand in the file, by number and not by text."""
        error = ConfigError((problem(10), problem(9)))

        self.assertEqual([9, 10], [p.place.line for p in error.problems])

    def test_cap(self) -> None:
        """Only the first fifty are printed, and how many more there are."""
        error = ConfigError(tuple(problem(line) for line in range(1, PRINTED + 6)))

        self.assertEqual(PRINTED + 1, len(str(error).splitlines()))
        self.assertTrue(str(error).endswith("... and 5 more"))

    def test_verdict_for_machines(self) -> None:
        """Machines get every problem, however many."""
        error = ConfigError(tuple(problem(line) for line in range(1, 200)))

        self.assertFalse(error.as_dict()["valid"])
        self.assertEqual(199, len(error.as_dict()["problems"]))


class RenderTests(SynchronousTestCase):
    """Problems on a terminal."""

    def test_caret(self) -> None:
        """The line stands below the problem, with a caret below the column."""
        shown = render((problem(2, column=3),), {"envoy.yaml": "a: 1\nb: wrong\n"})

        self.assertEqual(
            "envoy.yaml:2:3: static_resources: wrong\n     2 | b: wrong\n       |   ^", shown
        )

    def test_long_line(self) -> None:
        """A long line is cut around the caret."""
        shown = render((problem(1, column=501),), {"envoy.yaml": "x" * 500 + "Y" + "x" * 500})

        _, line, caret = shown.splitlines()
        self.assertLess(len(line), 150)
        self.assertEqual("Y", line[caret.index("^")])

    def test_control_characters(self) -> None:
        """Nothing in a source line can steer the terminal."""
        shown = render((problem(1),), {"envoy.yaml": "a: \x1b[31m\tb"})

        self.assertNotIn("\x1b", shown)

    def test_no_source(self) -> None:
        """Without the source the problem stands alone."""
        self.assertEqual(str(problem(7)), render((problem(7),), {}))


class LinesTests(SynchronousTestCase):
    """The lines of a text."""

    @given(text(alphabet="ab\r\n\x85\u2028"))
    def test_as_split(self, whole: str) -> None:
        """They are those that all line ends together make."""
        self.assertEqual(LINE_BREAK.split(whole), lines_of(whole))
