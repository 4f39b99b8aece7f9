"""The command line of `twistd tcpmesh`: Envoy's option names, defaults and meaning.

Everything that can be wrong is said before anything starts: options, then the configuration, all of
its problems at once.
"""

from __future__ import annotations

import atexit
import gc
import getopt
import json
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from time import time
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from tcpmesh.config import collector

with collector.paused():  # no import leaves enough garbage to look for it
    from twisted.application.service import IService
    from twisted.logger import Logger
    from twisted.python import usage

    from tcpmesh.config.arguments import loaded_with
    from tcpmesh.config.checks.limits import open_files
    from tcpmesh.config.load import Loaded, load
    from tcpmesh.config.messages.types import foreign_modules
    from tcpmesh.config.options import option_problems
    from tcpmesh.config.rules.deprecated import DEPRECATED
    from tcpmesh.config.text.problems import ConfigError, Problem, by_place, render, verdict
    from tcpmesh.config.text.source_map import SourceMap
    from tcpmesh.logs.log import Log
    from tcpmesh.logs.standard import take_standard_logging
    from tcpmesh.server.restart.pid_file import PidFile, take_pid_file
    from tcpmesh.server.restart.started import started_by
    from tcpmesh.tap_help import help_text
    from tcpmesh.tap_log import format_problems, level_problems, log_of, pattern_of
    from tcpmesh.tap_options import FLAGS, PARAMETERS, version_line, what_is_wrong
    from tcpmesh.tap_output import complain, refuse, tell
    from tcpmesh.tap_process import CannotRun, check_pid_file, check_user, enter_directory
    from tcpmesh.tap_processors import processors
    from tcpmesh.values.lifecycle.restart import DISABLED, VERSION, CannotTakeOver
    from tcpmesh.values.live.origin import origin_of
    from tcpmesh.values.server_options import ServerOptions

if TYPE_CHECKING:
    from tcpmesh.server.process import Row

ALIASES = {"c": "config-path", "config": "config-path", "l": "log-level"}

REPEATED = ("stats-tag", "admin-name")
"""What may be given several times."""

INTERRUPTED = 130
"""Exit status of a program that its user interrupts."""


class Options(usage.Options):
    """Options of `twistd tcpmesh`."""

    command = "twistd tcpmesh"
    """How the user called it."""

    wants = "--config FILE"
    """How the user would name a file."""

    synopsis = "[options]"
    shown: Sequence[str] = ()
    """The groups of options that help tells of; empty for all."""

    hidden: Sequence[str] = ()
    """The options among them that help does not tell of."""

    longdesc = """
    Run an Envoy v3 bootstrap as a TCP (L4) proxy.  What comes before the word tcpmesh are twistd's
    options, which say how the process runs: see twistd --help.

      twistd --nodaemon tcpmesh --config-path envoy.yaml
    """

    optParameters: ClassVar[Any] = PARAMETERS
    optFlags: ClassVar[Any] = FLAGS

    def __init__(self) -> None:
        super().__init__()
        self["stats-tag"] = ()
        self["admin-name"] = ()
        self.loaded: Loaded | None = None
        self._given: list[str] = []
        """The options that the user wrote, by their full names."""
        self._asks_version = False
        self.directory = _directory()
        """Where the process was started."""
        self.started = started_by(os.environ)
        """How another process has started this one, to be taken over from."""
        self.pid_file = PidFile(self)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse a command line.

        :raise usage.UsageError: where it makes no sense, or says something twice; under twistd,
            which would print all of its own options first, the process ends with status 1 and one
            line instead.
        """
        try:
            self._parse(list(sys.argv[1:] if options is None else options))
        except usage.UsageError as e:
            self._tell_failure(str(e))
            if self.parent is None:
                raise
            refuse(f"{self.command}: {e} (--help tells of all options)")

    def _parse(self, arguments: list[str]) -> None:
        try:
            written, files = getopt.gnu_getopt(arguments, self.shortOpt, self.longOpt)
        except getopt.GetoptError as e:
            raise usage.UsageError(what_is_wrong(e, self.longOpt)) from None
        names = [name.lstrip("-") for name, _ in written]
        self._given = [ALIASES.get(name, name) for name in names]
        for name in self._given:
            if self._given.count(name) > 1 and name not in REPEATED:
                raise usage.UsageError(f"--{name} is given more than once")
        # Files may stand anywhere among the options, but not for Twisted's parser.
        options = [part for name, value in written for part in self._as_written(name, value)]
        super().parseOptions([*options, "--", *files])

    def _as_written(self, name: str, value: str) -> list[str]:
        takes_value = f"{name[2:]}=" in self.longOpt or f"{name[1:]}:" in self.shortOpt
        return [name, value] if takes_value else [name]

    def parseArgs(self, *files: str) -> None:
        """What is no option.

        :raise usage.UsageError: always: there is nothing of that kind.
        """
        if files:
            raise usage.UsageError(f"'{files[0]}' is no option: name a file as --config-path FILE")

    def opt_config(self, path: str) -> None:
        """Bootstrap file; the same as --config-path."""
        self["config-path"] = path

    def opt_stats_tag(self, text: str) -> None:
        """A tag that every statistic has."""
        tag, colon, value = text.partition(":")
        if not colon:
            raise usage.UsageError(f"--stats-tag: {text!r} is not TAG:VALUE")
        if (tag and not (tag.isascii() and tag.isalnum())) or not value or "." in value:
            rule = "a tag has letters and digits, a value is not empty and has no dot"
            raise usage.UsageError(f"--stats-tag: {text!r}: {rule}")
        self["stats-tag"] += (text,)

    def opt_admin_name(self, name: str) -> None:
        """A name under which browsers find the admin interface."""
        if not name or set(name) & set("/:@ "):
            raise usage.UsageError(f"--admin-name: {name!r} is no name of a host")
        self["admin-name"] += (name,)

    def opt_allow_unknown_fields(self) -> None:
        """The same as --allow-unknown-static-fields."""
        self["allow-unknown-static-fields"] = 1

    def opt_hot_restart_version(self) -> None:
        """Print which processes can take over from this one, and exit."""
        self._asks_version = True

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        tell(version_line())
        sys.exit(0)

    def opt_help(self) -> NoReturn:
        """Display this help and exit."""
        usage_line = f"{self.command} {self.synopsis}"
        known = [row for cls in type(self).__mro__ for row in vars(cls).get("optParameters", ())]
        rows = [row for row in known if row[0] not in self.hidden]
        tell(help_text(usage_line, self.longdesc, rows, self.optFlags, self.shown))
        sys.exit(0)

    opt_h = opt_help

    def postOptions(self) -> None:
        """Judge the options and the configuration; ends the process here where either is wrong or
        only judging was asked for.
        """
        if self._asks_version:
            tell(DISABLED if self["disable-hot-restart"] else VERSION)
            sys.exit(0)
        if self["restart-epoch"] and self["use-dynamic-base-id"]:
            raise usage.UsageError(
                f"--restart-epoch={self['restart-epoch']} is of no use with --use-dynamic-base-id"
            )
        if self["concurrency"] is None:
            self["concurrency"] = processors()
        if self["enable-fine-grain-logging"] and self["component-log-level"]:
            raise usage.UsageError(
                "--component-log-level will not work with --enable-fine-grain-logging"
            )
        if not self["config-path"] and not self["config-yaml"]:
            raise usage.UsageError(f"name what to serve: {self.wants}, or --config-yaml TEXT")
        if self["mode"] == "serve" and self["format"] != "text":
            raise usage.UsageError("--format is for --mode validate and --mode explain")
        if self.parent is not None:
            self._prepare_process(self.parent)
        try:
            self.loaded = self._load()
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except MemoryError:
            refuse("there is not enough memory to judge this configuration")
        if self["mode"] != "serve":
            tell(self._answer(self.loaded))
            sys.exit(0)

    def _load(self) -> Loaded:
        refused, warnings = self._option_problems()
        try:
            loaded = load(
                self["config-path"],
                self["config-yaml"],
                allow_unknown_fields=bool(self["allow-unknown-static-fields"]),
                allow_unsupported=bool(self["allow-unsupported"]),
                open_files=open_files(is_raised=True),
                node_arguments=self.server_options().node_arguments,
            )
            wrong = _extension_problems(loaded)
            if "log-format" in self._given:
                wrong = (*format_problems(loaded), *wrong)
            if refused or wrong:
                raise ConfigError(wrong, loaded.warnings, loaded.sources)
        except ConfigError as e:
            e = ConfigError((*refused, *e.problems), (*warnings, *e.warnings), e.sources)
            self._tell_failure(_first_of(e.problems))
            if self["format"] == "json":
                tell(json.dumps(e.as_dict(), indent=1))
            else:
                complain(by_place((*e.problems, *e.warnings)), e.sources)
            sys.exit(1)
        if self["skip-deprecated-logs"]:
            kept = tuple(each for each in loaded.warnings if each.text != DEPRECATED)
            loaded = replace(loaded, warnings=kept)
        loaded = replace(loaded, warnings=(*warnings, *loaded.warnings))
        if self["format"] == "text":
            complain(loaded.warnings, loaded.sources)
        return loaded

    def _option_problems(self) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
        """What is wrong with the options: errors and warnings."""
        allowed = bool(self["allow-unsupported"])
        found = [
            *option_problems(self, self.defaults, self._given, allowed),
            *level_problems(self["component-log-level"]),
        ]
        return (
            tuple(each for each in found if each.severity == "error"),
            tuple(each for each in found if each.severity == "warning"),
        )

    def _answer(self, loaded: Loaded) -> str:
        """What a run that only judges or explains prints."""
        from tcpmesh.config.explain import as_dict, explain
        from tcpmesh.config.explain.text import as_text

        if self["mode"] == "validate":
            judged = verdict((), loaded.warnings)
            text = f"configuration '{self['config-path']}' OK"
        else:
            explained = explain(loaded_with(loaded, self.server_options().node_arguments))
            judged = {**verdict((), loaded.warnings), **as_dict(explained)}
            text = as_text(explained)
        return json.dumps(judged, indent=1) if self["format"] == "json" else text

    def server_options(self) -> ServerOptions:
        """The options as a value."""
        values: dict[str, Any] = {
            field.name: self[field.name.replace("_", "-")] for field in fields(ServerOptions)
        }
        for name in _FLAGS & values.keys():
            values[name] = bool(values[name])
        if self.started is not None:
            values.update(restart_epoch=self.started.epoch, base_id=self.started.base_id)
        return ServerOptions(**values)

    def _prepare_process(self, twistd: Any) -> None:
        """Do what twistd does later, and differently: see `tcpmesh.tap_process`."""
        try:
            enter_directory(twistd)
            if self["mode"] == "serve":
                check_user(twistd)
                if self.server_options().restart_epoch:
                    self.pid_file = take_pid_file(twistd)
                else:
                    self.pid_file = PidFile(twistd)
                    check_pid_file(twistd)
        except CannotRun as e:
            self.fail(str(e))

    def fail(self, reason: str) -> NoReturn:
        """End the process with status 1 and this line."""
        self._tell_failure(reason)
        refuse(reason)

    def _tell_failure(self, reason: str) -> None:
        """Tell the process that has started this one, if one has."""
        if self.started is not None:
            self.started.tell_failure(reason)

    def log(self) -> Log:
        """The log that these options, and twistd's own --logfile, ask for."""
        pattern = self["log-format"]
        if "log-format" not in self._given and self.loaded is not None:
            pattern = pattern_of(self.loaded.bootstrap)
        try:
            return log_of(self, self.parent, pattern)
        except OSError as e:
            refuse(f"cannot open the log file '{e.filename}': {e.strerror}")


_FLAGS = frozenset(str(flag[0]).replace("-", "_") for flag in Options.optFlags)


def _extension_problems(loaded: Loaded) -> tuple[Problem, ...]:
    """What extensions of other packages say; what builds them is not even imported where none is
    installed.
    """
    if not foreign_modules():
        return ()
    from tcpmesh.server.rehearsal import extension_problems

    return extension_problems(loaded)


def makeService(options: Options) -> IService:
    """The service that twistd runs.  Imported here is what only a server needs, so that `--help`
    stays quick.
    """
    with collector.paused():
        from twisted.internet import reactor

        from tcpmesh.server.process import ProcessServer
        from tcpmesh.server.processes.supervisor import WorkerProcesses
        from tcpmesh.server.system.huge_pages import collapse_all
        from tcpmesh.server.system.signals import install_signals

    assert options.loaded is not None
    log, settings = options.log(), options.server_options()
    take_standard_logging(log)
    if log.levels.shows("config", "debug"):
        _log_settings(loaded_with(options.loaded, settings.node_arguments), log)
    _raise_descriptor_limit()
    bootstrap = options.loaded.bootstrap
    origin = origin_of(by_place(options.loaded.warnings), time())
    # Its lines, which take many times as much memory as the message, are not asked for again.
    options.loaded = Loaded(bootstrap, (), SourceMap(()))
    processes = WorkerProcesses(bootstrap, log, type(reactor).__module__)
    server = ProcessServer(
        reactor,
        bootstrap,
        settings,
        log,
        origin=origin,
        row=_row(options, settings),
        processes=processes,
    )
    running: Any = reactor
    server.live.addCallback(lambda _: collector.calm())
    server.live.addCallback(lambda _: collapse_all(running))
    running.callWhenRunning(
        install_signals,
        running,
        server.quit,
        server.finish,
        server.reopen_logs,
        lambda: server.reloads.reload("signal"),
        server.upgrade_on_signal,
    )
    atexit.register(_end_with, server, log)
    return server


def _row(options: Options, settings: ServerOptions) -> Row:
    """What the process has to do with those before and after it: here, as long as there is a
    terminal for a refusal.
    """
    from tcpmesh.server.process import Row
    from tcpmesh.server.restart.beginning import begin
    from tcpmesh.server.restart.upgrade import Program

    twistd: Any = options.parent
    uid = twistd.get("uid") if twistd is not None else None
    try:
        beginning = begin(settings, options.started, -1 if uid is None else uid)
    except CannotTakeOver as e:
        options.fail(str(e))
    program = Program(sys.executable, tuple(sys.orig_argv), options.directory)
    return Row(beginning, options.pid_file, program)


def _directory() -> str:
    """Where the process is."""
    try:
        return os.getcwd()
    except OSError:
        return "."  # it is gone, and with it all relative paths


def _first_of(problems: tuple[Problem, ...]) -> str:
    """What is wrong, in one line."""
    first, *_ = render(problems[:1], {}).splitlines() or [""]
    return f"{first} (and {len(problems) - 1} more)" if len(problems) > 1 else first


def _raise_descriptor_limit() -> None:
    """Take all the descriptors that the process may have: each client needs two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _end_with(server: Any, log: Log) -> None:
    """Give the process the exit status that its server wants: twistd itself knows only 0."""
    log.close()
    if server.exit_status:
        os._exit(server.exit_status)
    # Python looks for garbage once more, which takes seconds where ten thousand clusters were
    # replaced: the system takes all back in any case.
    gc.freeze()


def _log_settings(loaded: Loaded, log: Log) -> None:
    """For whoever reads the log of another day: what the configuration came to."""
    from tcpmesh.config.explain import explain
    from tcpmesh.config.explain.text import as_text

    logger = Logger(namespace="config", observer=log)
    for line in as_text(explain(loaded)).splitlines():
        logger.debug("{line}", line=line)
