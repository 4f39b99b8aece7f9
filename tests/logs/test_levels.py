"""Levels: their names, and how much each logger says."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

import tcpmesh as package
from tcpmesh.logs import levels as module
from tcpmesh.logs.debug import debug_logger
from tcpmesh.logs.levels import (
    ELSEWHERE,
    ENVOY_LOGGERS,
    LEVELS,
    LOGGERS,
    Levels,
    component_levels,
    known_logger,
    level,
    silent_text,
    without_effect,
)


class LevelTests(SynchronousTestCase):
    """Names of levels."""

    def test_names(self) -> None:
        """Each of Envoy's levels is known by its name, and warn is warning."""
        self.assertEqual(LEVELS, tuple(map(level, LEVELS)))
        self.assertEqual("warning", level("warn"))

    def test_unknown(self) -> None:
        """Another name is a ValueError that tells which there are."""
        for name in ("", "INFO", "fatal"):
            self.assertIn("trace, debug", str(self.assertRaises(ValueError, level, name)))

    def test_components(self) -> None:
        """Components are given as logger:level, with commas between; nothing is nothing."""
        self.assertEqual(
            {"upstream": "debug", "main": "warning"}, component_levels("upstream:debug,main:warn")
        )
        self.assertEqual({}, component_levels(""))

    def test_bad_components(self) -> None:
        """An unknown logger or level is a ValueError that names it."""
        for text, name in (
            ("kitchen:info", "kitchen"),
            ("main:loud", "loud"),
            ("main", "'main'"),
            (":info", "':info'"),
            ("main:info,", "''"),
        ):
            self.assertIn(name, str(self.assertRaises(ValueError, component_levels, text)))


class LevelsTests(SynchronousTestCase):
    """The level of each logger."""

    def test_default_and_components(self) -> None:
        """Every logger has the default level, unless it has one of its own."""
        self.assertEqual(
            {**dict.fromkeys(LOGGERS, "error"), "filter": "trace"},
            Levels("error", {"filter": "trace"}).get(),
        )

    def test_debugging(self) -> None:
        """Who logs at debug is asked to speak only at debug and trace, also after the level was
        changed.
        """
        levels = Levels("debug", {"filter": "info", "main": "trace"})
        self.addCleanup(levels.set, "info")
        self.assertEqual(
            [True, False, True],
            [debug_logger(name).enabled for name in ("connection", "filter", "main")],
        )
        levels.set("warning", "connection")
        self.assertFalse(debug_logger("connection").enabled)

    def test_debug(self) -> None:
        """What is logged at debug is an event of its logger, at that level."""
        with capturedLogs() as events:
            debug_logger("connection").debug("[{id}] closed", id=7)
        (event,) = events
        self.assertEqual("[7] closed", formatEvent(event))
        self.assertEqual(
            ("connection", LogLevel.debug), (event["log_namespace"], event["log_level"])
        )
        self.assertIs(debug_logger("connection"), debug_logger("connection"))

    def test_in_order(self) -> None:
        """Loggers are told in alphabetical order."""
        self.assertEqual(sorted(LOGGERS), list(Levels("info", {}).get()))

    def test_copy(self) -> None:
        """What is told is a copy."""
        levels = Levels("info", {})
        levels.get()["main"] = "off"
        self.assertEqual("info", levels.get()["main"])

    def test_set(self) -> None:
        """The level of one logger or of all can be set; what is unknown is a ValueError and changes
        nothing.
        """
        levels = Levels("info", {})
        levels.set("warn", "main")
        self.assertEqual(("warning", "info"), (levels.get()["main"], levels.get()["upstream"]))
        levels.set("debug")
        self.assertEqual({"debug"}, set(levels.get().values()))
        self.assertRaises(ValueError, levels.set, "loud")
        self.assertRaises(ValueError, levels.set, "info", "kitchen")
        self.assertEqual({"debug"}, set(levels.get().values()))

    def test_shows(self) -> None:
        """An event is shown at its logger's level and above."""
        for number, wanted in enumerate(LEVELS):
            levels = Levels(wanted, {})
            shown = [levels.shows("main", name) for name in LEVELS[:-1]]
            self.assertEqual([index >= number for index in range(len(LEVELS) - 1)], shown)

    def test_others(self) -> None:
        """Loggers that are not ours are shown from warning on, or from main's level on where that
        is higher.
        """
        for wanted, shown in (
            ("debug", "warning"),
            ("info", "warning"),
            ("error", "error"),
            ("off", "off"),
        ):
            levels = Levels(wanted, {})
            names = [name for name in LEVELS[:-1] if levels.shows("twisted.internet.base", name)]
            self.assertEqual(list(LEVELS[LEVELS.index(shown) : -1]), names)


class NamesTests(SynchronousTestCase):
    """The loggers of tcpmesh."""

    def test_all_are_known(self) -> None:
        """Whatever in it logs does so under one of these names, and each name has somebody."""
        used = set()
        for path in Path(package.__file__).parent.rglob("*.py"):
            if "testing" not in path.parts and path.name != "demoapp.py":
                used |= set(re.findall(r"\bLogger\(([^)]*)\)", path.read_text()))
                used |= set(re.findall(r"\bdebug_logger\((\"[^)]*)\)", path.read_text()))
        names = {re.sub(r"^namespace=|, observer=.*|\"", "", each) for each in used}
        self.assertEqual(set(LOGGERS), names - {"name"})


class OtherLoggersTests(SynchronousTestCase):
    """Loggers that are Envoy's alone, or other people's."""

    def test_of_envoy(self) -> None:
        """Each logger of Envoy's may be named, and it is said which of them say nothing here."""
        self.assertEqual("http", known_logger("http"))
        levels = component_levels("http:debug,main:info,router:trace")
        self.assertEqual(["http", "router"], without_effect(levels))
        self.assertEqual(73, len(ENVOY_LOGGERS))

    def test_elsewhere(self) -> None:
        """Of those that say nothing it is told which of ours say it, if any."""
        self.assertEqual("", silent_text(["main"]))
        self.assertTrue(
            silent_text(["pool", "hc", "conn_handler"]).endswith("; see listener, upstream")
        )
        self.assertTrue(silent_text(["router"]).endswith("that name"))
        self.assertLessEqual(set(ELSEWHERE), ENVOY_LOGGERS - set(LOGGERS))
        self.assertLessEqual(set(ELSEWHERE.values()), set(LOGGERS))

    def test_hint(self) -> None:
        """Of a name that is nearly one of ours it is asked whether that was meant."""
        error = self.assertRaises(ValueError, known_logger, "upstrem")
        self.assertEqual("unknown logger name 'upstrem'; did you mean 'upstream'?", str(error))

    def test_of_packages(self) -> None:
        """What begins with the name of a package that is installed is a logger before it has
        spoken; what does not is none.
        """
        self.assertEqual({"email.parser": "debug"}, component_levels("email.parser:debug"))
        self.addCleanup(logging.getLogger("email").setLevel, logging.NOTSET)
        levels = Levels("info", {})
        levels.set("debug", "email")
        self.assertTrue(levels.shows("email.parser", "debug"))
        for name in ("no_such_package.log", ".", "..", "a b", "-"):
            self.assertRaises(ValueError, known_logger, name)

    def test_heard(self) -> None:
        """Another logger is told of once it has spoken, shown or not, and can be set then."""
        levels = Levels("info", {})
        self.assertNotIn("kitchen", levels.get())
        self.assertFalse(levels.shows("kitchen", "debug"))
        self.assertEqual("info", levels.get()["kitchen"])
        self.addCleanup(logging.getLogger("kitchen").setLevel, logging.NOTSET)
        levels.set("debug", "kitchen")
        self.assertTrue(levels.shows("kitchen", "debug"))
        self.assertEqual("debug", levels.get()["kitchen"])

    def test_follow_all(self) -> None:
        """What is set for all is set for other people's too, whatever they had of their own."""
        levels = Levels("info", {})
        levels.shows("kitchen", "info")
        self.addCleanup(logging.getLogger("kitchen").setLevel, logging.NOTSET)
        levels.set("trace", "kitchen")
        levels.set("error")
        self.assertEqual("error", levels.get()["kitchen"])
        self.assertEqual(logging.NOTSET, logging.getLogger("kitchen").level)

    def test_twisted_when_chosen(self) -> None:
        """Twisted's own are shown below warning where somebody chose that, for one or for all of
        them.
        """
        levels = Levels("info", {"twisted.web": "debug"})
        self.addCleanup(logging.getLogger("twisted.web").setLevel, logging.NOTSET)
        self.addCleanup(logging.getLogger("twisted").setLevel, logging.NOTSET)
        self.assertTrue(levels.shows("twisted.web.server", "debug"))
        self.assertFalse(levels.shows("twisted.internet", "info"))
        levels.set("info", "twisted")
        self.assertTrue(levels.shows("twisted.internet", "info"))

    def test_standard_library(self) -> None:
        """The logger of that name of the standard library lets pass what is wanted."""
        self.addCleanup(logging.getLogger("asyncio").setLevel, logging.NOTSET)
        for name, number in (("debug", logging.DEBUG), ("off", logging.CRITICAL + 1)):
            Levels("info", {"asyncio": name})
            self.assertEqual(number, logging.getLogger("asyncio").level)

    def test_bounded(self) -> None:
        """However many names an extension makes up, so many are remembered, and all are judged."""
        self.patch(module, "MOST_HEARD", len(LOGGERS) + 2)
        levels = Levels("info", {})
        for number in range(5):
            self.assertTrue(levels.shows(f"made_up_{number}", "info"))
        self.assertEqual(len(LOGGERS) + 2, len(levels.get()))
