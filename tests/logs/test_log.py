"""The application log: the shape of its lines, and that nothing stops it."""

from __future__ import annotations

import io
import os
import sys
import time
from pathlib import Path
from typing import Any

from zope.interface.verify import verifyObject

from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.logs.levels import Levels
from tcpmesh.logs.log import Log
from tcpmesh.logs.output import Output

NOON = time.mktime((2026, 11, 24, 13, 34, 29, 0, 0, -1)) + 0.0625


def event(text: str = "text", **more: Any) -> dict[str, Any]:
    """A log event of the logger main at level info."""
    return {
        "log_level": LogLevel.info,
        "log_namespace": "main",
        "log_format": text,
        "log_time": NOON,
        **more,
    }


class LinesTests(SynchronousTestCase):
    """What is written."""

    def setUp(self) -> None:
        """A log to standard error."""
        self.err = io.StringIO()
        self.patch(sys, "stderr", self.err)
        self.log = Log(Levels("debug", {}))

    def test_interface(self) -> None:
        """It is an observer of Twisted's log."""
        verifyObject(ILogObserver, self.log)

    def test_shape(self) -> None:
        """A line has time with milliseconds, process, level, logger and text."""
        self.log(event("it is {what}", what="so"))
        self.assertEqual(
            f"[2026-11-24 13:34:29.062][{os.getpid()}][info][main] it is so\n", self.err.getvalue()
        )

    def test_level_names(self) -> None:
        """Levels have Envoy's names."""
        for each in (
            LogLevel.debug,
            LogLevel.info,
            LogLevel.warn,
            LogLevel.error,
            LogLevel.critical,
        ):
            self.log(event(log_level=each))
        written = [line.split("][")[2] for line in self.err.getvalue().splitlines()]
        self.assertEqual(["debug", "info", "warning", "error", "critical"], written)

    def test_below_the_level(self) -> None:
        """What is below its logger's level is not written, and a change of the level counts at
        once.
        """
        self.log.levels.set("error", "main")
        self.log(event())
        self.assertEqual("", self.err.getvalue())
        self.log.levels.set("info", "main")
        self.log(event())
        self.assertEqual(1, self.err.getvalue().count("\n"))

    def test_failure(self) -> None:
        """A failure is written with its traceback."""
        try:
            raise ZeroDivisionError("by hand")
        except ZeroDivisionError:
            self.log(event("it broke", log_failure=Failure(), log_level=LogLevel.critical))
        self.assertIn("it broke\nTraceback", self.err.getvalue())
        self.assertIn("by hand", self.err.getvalue())

    def test_logger(self) -> None:
        """What a Logger of twisted.logger says arrives, with what it was given."""
        Logger(namespace="upstream", observer=self.log).warn(
            "{host} is {state}", host="a", state="gone"
        )
        self.assertIn("[warning][upstream] a is gone\n", self.err.getvalue())

    def test_standard_error_of_the_start(self) -> None:
        """It writes to the standard error of when it was made, whatever twistd puts there later."""
        later = io.StringIO()
        self.patch(sys, "stderr", later)
        self.log(event())
        self.assertEqual("", later.getvalue())
        self.assertTrue(self.err.getvalue())


class Unprintable:
    """Something that cannot be made text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Broken(io.StringIO):
    """A file that cannot be written."""

    def write(self, text: str) -> int:
        raise OSError("no space left on device")


class NeverRaisesTests(SynchronousTestCase):
    """Whatever is logged, and wherever to, nothing is raised."""

    def setUp(self) -> None:
        """A log to standard error."""
        self.err = io.StringIO()
        self.patch(sys, "stderr", self.err)
        self.log = Log(Levels("debug", {}))

    def test_texts(self) -> None:
        """Formats that do not fit and values that have no text make a line all the same."""
        for each in (
            event("{missing}"),
            event("{"),
            event("{x}", x=Unprintable()),
            event("{x.y[0]}", x=1),
            event("", log_format=None),
            event("", log_format=7),
            event("", log_format=b"\xff"),
        ):
            before = self.err.getvalue().count("\n")
            self.log(each)
            self.assertTrue(
                self.err.getvalue().count("\n") > before or each["log_format"] is None, each
            )

    def test_bare_events(self) -> None:
        """An event that lacks what others have is written as far as it goes."""
        for each in (
            {},
            {"log_format": "x"},
            {"log_namespace": "main", "log_format": "x"},
            event(log_failure=1),
        ):
            self.log(each)
        self.assertEqual(2, self.err.getvalue().count("[info][main]"))

    def test_writing_fails(self) -> None:
        """A full disk or a closed pipe is no reason to stop."""
        self.patch(sys, "stderr", Broken())
        Log(Levels("debug", {}))(event())

    def test_closed(self) -> None:
        """A standard error that was closed is no reason to stop."""
        self.err.close()
        self.log(event())


class LostTests(SynchronousTestCase):
    """Lines that cannot be written."""

    def test_counted(self) -> None:
        """Once there is room again it is said how many are missing, of all since there was."""
        log = Log(Levels("info", {}), "/dev/full")
        for _ in range(3):
            log(event())
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        file = Output.open(str(folder / "log"))
        assert log._output is not None
        file.lost = log._output.lost
        self.patch(log, "_output", file)
        log(event("room"))
        first, second = (folder / "log").read_text().splitlines()
        self.assertTrue(first.endswith("[info][main] room"))
        self.assertTrue(
            second.endswith("[warning][main] 3 lines of the log are lost: it could not be written"),
            second,
        )

    def test_without_standard_error(self) -> None:
        """A process that has none logs nothing, and raises nothing."""
        self.patch(sys, "stderr", None)
        log = Log(Levels("info", {}))
        log(event())
        self.assertTrue(log.flush())

    def test_after_the_end(self) -> None:
        """What is logged after the log was closed goes nowhere, neither to standard error."""
        err = io.StringIO()
        self.patch(sys, "stderr", err)
        log = Log(Levels("info", {}), "/dev/null")
        log.close()
        log(event())
        self.assertEqual("", err.getvalue())


class FileTests(SynchronousTestCase):
    """A log file."""

    def setUp(self) -> None:
        """A log in a directory of its own."""
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        self.path = directory / "proxy.log"
        self.log = Log(Levels("debug", {}), str(self.path))

    def test_at_once(self) -> None:
        """A line is in the file as soon as it is logged."""
        self.log(event("first"))
        self.assertTrue(self.path.read_text().endswith("[info][main] first\n"))

    def test_appends(self) -> None:
        """What a file has already stays."""
        self.log(event("first"))
        Log(Levels("debug", {}), str(self.path))(event("second"))
        self.assertEqual(2, self.path.read_text().count("\n"))

    def test_reopen(self) -> None:
        """After it was moved away and opened anew, lines go to a new file, which as many may
        read.
        """
        self.log(event("first"))
        self.path.chmod(0o640)
        moved = self.path.with_suffix(".1")
        self.path.rename(moved)
        self.log(event("second"))
        self.log.reopen()
        self.log(event("third"))
        self.assertEqual((2, 1), (moved.read_text().count("\n"), self.path.read_text().count("\n")))
        self.assertEqual(0o640, self.path.stat().st_mode & 0o7777)

    def test_reopen_fails(self) -> None:
        """Where it cannot be opened anew the old file goes on, and says why."""
        moved = self.path.with_suffix(".1")
        self.path.rename(moved)
        self.path.mkdir()
        self.log.reopen()
        self.log(event("still here"))
        self.assertIn("still here", moved.read_text())
        self.assertIn("[error][main] cannot open the log file", moved.read_text())
        self.assertIn("Is a directory", moved.read_text())

    def test_reopen_standard_error(self) -> None:
        """Standard error is not opened anew."""
        err = io.StringIO()
        self.patch(sys, "stderr", err)
        log = Log(Levels("debug", {}))
        log.reopen()
        log(event("still here"))
        self.assertIn("still here", err.getvalue())

    def test_any_character(self) -> None:
        """A text with characters that no encoding has is written, with escapes for them."""
        self.log(event("caf\xe9 \udcff"))
        self.assertIn("caf\xe9 \\udcff", self.path.read_text(encoding="utf-8"))

    def test_cannot_be_opened(self) -> None:
        """A file that cannot be opened is an error when the log is made."""
        self.assertRaises(OSError, Log, Levels("debug", {}), "/no/such/directory/log")
