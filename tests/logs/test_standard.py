"""Loggers of the standard library."""

from __future__ import annotations

import logging
from typing import Any

from twisted.logger import LogEvent, LogLevel, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.logs.levels import Levels
from tcpmesh.logs.log import Log
from tcpmesh.logs.standard import StandardLogging, take_standard_logging


class StandardTests(SynchronousTestCase):
    """What libraries say through `logging`."""

    def setUp(self) -> None:
        """A logger of this test's own, and what comes of it."""
        self.events: list[LogEvent] = []
        root = logging.getLogger()
        for handler in list(root.handlers):
            self.addCleanup(root.addHandler, handler)
            root.removeHandler(handler)
        self.addCleanup(self.forget)
        take_standard_logging(self.events.append)  # type: ignore[arg-type]
        self.logger = logging.getLogger("kitchen.oven")
        self.addCleanup(self.logger.setLevel, logging.NOTSET)

    def forget(self) -> None:
        """Take away the handlers of this test."""
        root = logging.getLogger()
        for handler in list(root.handlers):
            if isinstance(handler, StandardLogging):
                root.removeHandler(handler)

    def test_event(self) -> None:
        """A record is an event: its text, its level, its logger, and where it was logged."""
        self.logger.warning("it is %d degrees {hot}", 200)
        (event,) = self.events
        self.assertEqual("it is 200 degrees {hot}", eventAsText(event, False, False, False).strip())
        self.assertEqual(
            (LogLevel.warn, "kitchen.oven"), (event["log_level"], event["log_namespace"])
        )
        self.assertEqual(
            ("test_standard.py", "test_event"),
            (event["log_location"].path, event["log_location"].function),
        )

    def test_levels(self) -> None:
        """Each level has its own, and those between them the one below."""
        self.logger.setLevel(1)
        for number in (5, 10, 20, 25, 30, 40, 50, 60):
            self.logger.log(number, "x")
        self.assertEqual(
            ["debug", "debug", "info", "info", "warn", "error", "critical", "critical"],
            [event["log_level"].name for event in self.events],
        )

    def test_traceback(self) -> None:
        """An exception is told with its traceback."""
        try:
            raise ZeroDivisionError("by hand")
        except ZeroDivisionError:
            self.logger.exception("it broke")
        self.assertIn("it broke\nTraceback", self.events[0]["text"])

    def test_unprintable(self) -> None:
        """What cannot be written is said to be so, and raises nothing."""
        self.logger.error("%d", "no number")
        self.logger.error("%d %d", 1)
        self.assertIn("'%d' with ('no number',) cannot be written", self.events[0]["text"])
        self.assertEqual(2, len(self.events))

    def test_one_log(self) -> None:
        """A log that comes later takes the place of the one before."""
        later: list[Any] = []
        take_standard_logging(later.append)  # type: ignore[arg-type]
        self.logger.error("x")
        self.assertEqual((0, 1), (len(self.events), len(later)))

    def test_asked_for(self) -> None:
        """Below warning a logger says something once its level is set here; before, its records
        are not even made.
        """
        lines: list[str] = []
        log = Log(Levels("info", {}), pattern="%l %n %v")
        self.patch(log, "_output", None)
        self.patch(
            log, "_stderr", type("File", (), {"write": lambda _, text: lines.append(text)})()
        )
        take_standard_logging(log)
        self.logger.info("one")
        log.levels.shows("kitchen.oven", "info")
        log.levels.set("debug", "kitchen.oven")
        self.logger.debug("two")
        log.levels.set("info")
        self.logger.info("three")
        self.assertEqual(["debug kitchen.oven two\n"], lines)
