"""The command line of `twistd tcpmesh`."""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.logger import LogLevel
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh import __version__, tap
from tcpmesh.config import collector
from tcpmesh.config.text import files
from tcpmesh.logs.levels import LOGGERS
from tcpmesh.server.service import Server
from tcpmesh.tap_help import OTHERS
from tcpmesh.values.server_options import ServerOptions
from tests.config.texts import GOOD

ALONE = "--disable-hot-restart"
EMPTY = ("--config-yaml", "{}")
SERVING = ("--config-yaml", GOOD)

ALLOW = "--allow-unsupported"

ENVOY_OPTIONS = """
stats-tag enable-core-dump socket-mode socket-path disable-extensions cpuset-threads
enable-mutex-tracing disable-hot-restart mode parent-shutdown-time-s drain-strategy drain-time-s
file-flush-min-size-kb file-flush-interval-msec service-zone service-node service-cluster
hot-restart-version restart-epoch log-path enable-fine-grain-logging log-format-escaped log-format
component-log-level log-level local-address-ip-version admin-address-path
log-stacktrace-single-entry skip-deprecated-logs ignore-unknown-dynamic-fields
reject-unknown-dynamic-fields allow-unknown-static-fields allow-unknown-fields config-yaml
config-path concurrency base-id-path skip-hot-restart-parent-stats skip-hot-restart-on-no-parent
use-dynamic-base-id base-id version help
"""
"""What `envoy --help` lists, of Envoy 1.40."""

ALIASES_OF_OPTIONS = {"config", "allow-unknown-fields"}
"""What help tells beside another option."""

BAD = """\
static_resources:
  listeners:
  - name: l
    adress: {}
  clusters:
  - name: c
    connect_timeout: soon
"""


class OptionsTestCase(SynchronousTestCase):
    """A test that parses command lines."""

    def setUp(self) -> None:
        """What is printed is kept."""
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        for handler in logging.getLogger().handlers:
            self.addCleanup(logging.getLogger().addHandler, handler)
        self.addCleanup(logging.getLogger().handlers.clear)

    def parse(self, *arguments: str) -> tap.Options:
        """The options of a command line."""
        options = tap.Options()
        options.parseOptions(arguments)
        return options

    def ends(self, *arguments: str) -> Any:
        """The exit status with which this command line ends."""
        return self.assertRaises(SystemExit, self.parse, *arguments).code

    def file(self, text: str, name: str = "envoy.yaml") -> str:
        """A file with this text; its path."""
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        path = directory / name
        path.write_text(text)
        return str(path)


class NamesTests(OptionsTestCase):
    """Names, aliases and defaults."""

    def test_defaults(self) -> None:
        """What is not said has Envoy's default."""
        options = self.parse(*EMPTY, "--concurrency", "1").server_options()
        self.assertEqual(ServerOptions(config_yaml="{}"), options)

    def test_config(self) -> None:
        """-c, --config and --config-path all name the bootstrap."""
        path = self.file("node: {id: here}")
        for name in ("-c", "--config", "--config-path"):
            options = self.parse(name, path)
            self.assertEqual(path, options.server_options().config_path)
            assert options.loaded is not None
            self.assertEqual("here", options.loaded.bootstrap.node.id)

    def test_config_yaml(self) -> None:
        """--config-yaml is merged over the file."""
        options = self.parse(
            "-c", self.file("node: {id: here, cluster: c}"), "--config-yaml", "node: {id: there}"
        )
        assert options.loaded is not None
        self.assertEqual(
            ("there", "c"),
            (options.loaded.bootstrap.node.id, options.loaded.bootstrap.node.cluster),
        )

    def test_log_level(self) -> None:
        """-l and --log-level are one, and warn is warning."""
        self.assertEqual("debug", self.parse(*EMPTY, "-l", "debug").server_options().log_level)
        self.assertEqual(
            "warning", self.parse(*EMPTY, "--log-level", "warn").server_options().log_level
        )

    def test_values(self) -> None:
        """Every option reaches the server under its name, numbers as numbers."""
        options = self.parse(
            *EMPTY,
            *(
                "--concurrency",
                "4",
                "--service-node",
                "n",
                "--service-cluster",
                "k",
                "--service-zone",
                "z",
            ),
            *("--admin-address-path", "/a", "--drain-time-s", "3", "--drain-strategy", "immediate"),
            *(
                "--parent-shutdown-time-s",
                "5",
                "--file-flush-interval-msec",
                "7",
                "--file-flush-min-size-kb",
                "9",
            ),
            *(
                "--restart-epoch",
                "1",
                "--base-id",
                "2",
                "--component-log-level",
                "upstream:debug",
                "--disable-hot-restart",
            ),
            *(
                "--allow-unknown-static-fields",
                "--reject-unknown-dynamic-fields",
                "--ignore-unknown-dynamic-fields",
            ),
            *("--log-path", "/l"),
            *("--live-handover", "off"),
        )
        expected = ServerOptions(
            config_yaml="{}",
            concurrency=4,
            component_log_level="upstream:debug",
            log_path="/l",
            service_cluster="k",
            service_node="n",
            service_zone="z",
            admin_address_path="/a",
            drain_time_s=3,
            drain_strategy="immediate",
            parent_shutdown_time_s=5,
            file_flush_interval_msec=7,
            file_flush_min_size_kb=9,
            restart_epoch=1,
            base_id=2,
            allow_unknown_static_fields=True,
            reject_unknown_dynamic_fields=True,
            ignore_unknown_dynamic_fields=True,
            disable_hot_restart=True,
            live_handover="off",
        )
        self.assertEqual(expected, options.server_options())

    def test_processors(self) -> None:
        """Without --concurrency there are as many workers as processors may be used."""
        self.patch(tap, "processors", lambda: 7)
        self.assertEqual(7, self.parse(*EMPTY).server_options().concurrency)
        options = self.parse(*EMPTY, "--cpuset-threads").server_options()
        self.assertEqual(7, options.concurrency)

    def test_no_concurrency(self) -> None:
        """A concurrency of 0 is raised to 1."""
        self.assertEqual(1, self.parse(*EMPTY, "--concurrency", "0").server_options().concurrency)

    def test_allow_unknown_fields(self) -> None:
        """--allow-unknown-fields and --allow-unknown-static-fields both let unknown fields pass,
        with a warning.
        """
        self.assertEqual(1, self.ends("--config-yaml", "no_such_field: 1"))
        for name in ("--allow-unknown-fields", "--allow-unknown-static-fields"):
            self.err.truncate(0)
            options = self.parse("--config-yaml", "no_such_field: 1", name)
            self.assertTrue(options.server_options().allow_unknown_static_fields)
            self.assertIn("no_such_field", self.err.getvalue())

    def test_version(self) -> None:
        """--version prints name and version, and whose API is spoken, and ends with status 0."""
        self.assertEqual(0, self.ends("--version"))
        self.assertRegex(
            self.out.getvalue(), rf"^tcpmesh {__version__}, the API of Envoy 1\.\d+, Python 3\."
        )

    def test_help(self) -> None:
        """--help ends with status 0 and tells every option once, in lines of 80 columns, without a
        configuration.
        """
        self.assertEqual(0, self.ends("--help"))
        printed = self.out.getvalue()
        for name in {name.rstrip("=") for name in tap.Options().longOpt} - ALIASES_OF_OPTIONS:
            self.assertEqual(1, len(re.findall(rf"^  .{{4}}--{name}\b(?!-)", printed, re.M)), name)
        self.assertLessEqual(max(map(len, printed.splitlines())), 80)

    def test_others(self) -> None:
        """What help calls options that do nothing here says so of each of them."""
        self.assertEqual(0, self.ends("--help"))
        others = self.out.getvalue().partition(f"{OTHERS}:\n")[2].partition("\n\n")[0]
        for option in re.split(r"\n(?= {6}--)", others):
            self.assertRegex(
                option.lower(), "no effect|no\n +effect|refused|there is none|disabled", option
            )


class OptionsOfEnvoyTests(OptionsTestCase):
    """Options of Envoy that do nothing here, or would have to do what is not there yet."""

    def said(self, *arguments: str) -> list[str]:
        """The lines that a command line brings about, whether it ends or not."""
        self.err.truncate(self.err.seek(0))
        try:
            self.parse(*SERVING, *arguments)
        except SystemExit as e:
            self.assertEqual(1, e.code)
            return self.err.getvalue().splitlines()
        return ["starts", *self.err.getvalue().splitlines()]

    def test_served_otherwise(self) -> None:
        """What changes nothing of what is served is a warning, which tells the value's fate; the
        default is none.
        """
        for option, reason in (
            (
                "--enable-fine-grain-logging",
                "levels are those of loggers, not of source files: see /logging",
            ),
        ):
            name = option.partition("=")[0]
            self.assertEqual(["starts", f"{name}: warning: no effect: {reason}"], self.said(option))
        self.assertEqual(["starts"], self.said("--drain-time-s=600"))

    def test_cpuset_threads(self) -> None:
        """--cpuset-threads is a warning, for it asks for the default of --concurrency, and beside
        that for nothing.
        """
        warning = "--cpuset-threads: warning: no effect: --concurrency"
        self.assertEqual(["starts", f"{warning} does so by default"], self.said("--cpuset-threads"))
        self.assertEqual(
            ["starts", f"{warning} says how many workers there are"],
            self.said("--cpuset-threads", "--concurrency=4"),
        )

    def test_refused(self) -> None:
        """What would have to do something is refused with the reason, as a field is; with
        --allow-unsupported it is a warning.
        """
        for option, reason in (
            ("--disable-extensions=a", "an extension is loaded where"),
            ("--enable-core-dump", "the limit of core files"),
            ("--enable-mutex-tracing", "there are no mutexes"),
        ):
            name = option.partition("=")[0]
            (line,) = self.said(option)
            self.assertIn(f"{name}: tcpmesh does not support this option yet: {reason}", line)
            warned = line.replace(f"{name}: ", f"{name}: warning: ")
            self.assertEqual(["starts", warned], self.said(option, ALLOW))

    def test_hot_restart(self) -> None:
        """What is said of a hot restart is taken, with Envoy's one rule."""
        for option in (
            "--base-id=2",
            "--restart-epoch=1",
            "--base-id-path=/a",
            "--socket-path=/a",
            "--socket-mode=640",
            "--use-dynamic-base-id",
            "--parent-shutdown-time-s=3",
            "--live-handover=off",
        ):
            self.assertEqual(["starts"], self.said(option))
        both = ("--restart-epoch=1", "--use-dynamic-base-id")
        error = self.assertRaises(usage.UsageError, self.said, *both)
        self.assertIn("--restart-epoch=1 is of no use with --use-dynamic-base-id", str(error))

    def test_harmless(self) -> None:
        """What makes no difference to a TCP proxy without hot restart is taken without a word."""
        for option in (
            "--local-address-ip-version=v6",
            "--log-stacktrace-single-entry",
            "--skip-deprecated-logs",
            "--skip-hot-restart-on-no-parent",
            "--skip-hot-restart-parent-stats",
            "--file-flush-interval-msec=3",
            "--file-flush-min-size-kb=3",
        ):
            self.assertEqual(["starts"], self.said(option))

    def test_every_option_of_envoy(self) -> None:
        """No option that Envoy has is unknown."""
        known = {name.rstrip("=") for name in tap.Options().longOpt}
        self.assertEqual(set(), set(ENVOY_OPTIONS.split()) - known)

    def test_skip_deprecated_logs(self) -> None:
        """--skip-deprecated-logs leaves out the warnings of deprecated fields, and no others."""
        text = "{use_tcp_for_dns_lookups: true}"
        arguments = ("--config-yaml", text, "--mode", "validate", "--format", "json")
        for option, count in (((), 1), (("--skip-deprecated-logs",), 0)):
            self.out.truncate(self.out.seek(0))
            self.assertEqual(0, self.ends(*arguments, *option))
            warnings = json.loads(self.out.getvalue())["warnings"]
            said = [each for each in warnings if "deprecated" in each["message"]]
            self.assertEqual(count, len(said))

    def test_validate(self) -> None:
        """Judging a configuration tells of them among its problems and warnings."""
        arguments = (
            *EMPTY,
            "--mode",
            "validate",
            "--format",
            "json",
            "--enable-fine-grain-logging",
        )
        self.assertEqual(1, self.ends(*arguments, "--disable-extensions=a"))
        judged = json.loads(self.out.getvalue())
        self.assertEqual(["--disable-extensions"], [each["file"] for each in judged["problems"]])
        self.assertIn("--enable-fine-grain-logging", [each["file"] for each in judged["warnings"]])

    def test_stats_tags(self) -> None:
        """--stats-tag may be given several times; what is no tag is one line."""
        given = ("--stats-tag=a:b", "--stats-tag", "c:d:e", "--stats-tag=a:x")
        options = self.parse(*SERVING, *given)
        self.assertEqual({"a": "b", "c": "d:e"}, options.server_options().stats_tags)
        for wrong in ("a", "a_b:c", "a:", "a:b.c", "\u00e9:c"):
            with self.assertRaises(usage.UsageError) as caught:
                self.parse(*SERVING, f"--stats-tag={wrong}")
            self.assertTrue(str(caught.exception).startswith(f"--stats-tag: {wrong!r}"))

    def test_hot_restart_version(self) -> None:
        """--hot-restart-version says what this takes over from, and where hot restart is disabled
        that there is none.
        """
        for more, said in (((), "1\n"), ((ALONE,), "disabled\n")):
            self.out.seek(0)
            self.out.truncate()
            self.assertEqual(0, self.ends("--hot-restart-version", *more))
            self.assertEqual(said, self.out.getvalue())


class BadValuesTests(OptionsTestCase):
    """Values that make no sense are told with the usage, and nothing starts."""

    def assert_usage_error(self, *arguments: str, says: str) -> None:
        """This command line is a UsageError that has these words."""
        failure = self.assertRaises(usage.UsageError, self.parse, *arguments)
        self.assertIn(says, str(failure))

    def test_given_twice(self) -> None:
        """What is given twice is no choice: that is said, under whatever names it was, as Envoy
        does.
        """
        for once, again, name in (
            ("-ca", "-cb", "config-path"),
            ("--config=a", "--config-path=b", "config-path"),
            ("-linfo", "--log-level=info", "log-level"),
            ("--disable-hot-restart", "--disable-hot-restart", "disable-hot-restart"),
        ):
            self.assert_usage_error(once, again, says=f"--{name} is given more than once")

    def test_unknown_option(self) -> None:
        """An option that does not exist is named, and the one that was meant, if any."""
        for option, says in (
            ("--no-such-option", "there is no option --no-such-option"),
            ("--log-lvel", "there is no option --log-lvel; did you mean --log-level?"),
            ("--base", "did you mean --base-id or --base-id-path?"),
            ("-x", "there is no option -x"),
        ):
            self.assert_usage_error(*EMPTY, option, says=says)

    def test_no_value(self) -> None:
        """A value that is missing, or that nobody asked for, is told with the option."""
        self.assert_usage_error(*EMPTY, "--drain-time-s", says="--drain-time-s needs a value")
        self.assert_usage_error(*EMPTY, "-l", says="-l needs a value")
        self.assert_usage_error(
            *EMPTY, "--allow-unsupported=yes", says="--allow-unsupported takes no value"
        )

    def test_no_option(self) -> None:
        """What is no option is named, wherever it stands."""
        for arguments in (("envoy.yaml", *EMPTY), (*EMPTY, "envoy.yaml")):
            self.assert_usage_error(*arguments, says="'envoy.yaml' is no option")

    def test_one_line(self) -> None:
        """Under twistd each of these is one line that names the option, where Twisted would print
        all of its own options, and the status is 1.
        """
        for arguments, line in (
            (["--concurrency=many"], "--concurrency: 'many' is no whole number of zero or more"),
            (["--mode=serv"], "did you mean serve?"),
            (["-l", "loud"], "--log-level: unknown logger level 'loud'"),
            (["--no-such"], "there is no option --no-such"),
            ([], "name what to serve"),
        ):
            options = tap.Options()
            options.parent = {}  # type: ignore[assignment]
            self.err.truncate(self.err.seek(0))
            self.assertEqual(1, self.assertRaises(SystemExit, options.parseOptions, arguments).code)
            self.assertTrue(self.err.getvalue().startswith("twistd tcpmesh: "))
            self.assertIn(line, self.err.getvalue())
            self.assertEqual(1, self.err.getvalue().count("\n"))

    def test_numbers(self) -> None:
        """Where a number is wanted, words, fractions and negative numbers are refused."""
        for name in (
            "concurrency",
            "drain-time-s",
            "parent-shutdown-time-s",
            "restart-epoch",
            "base-id",
            "file-flush-min-size-kb",
        ):
            for value in ("many", "1.5", "-1", ""):
                self.assert_usage_error(*EMPTY, f"--{name}={value}", says=f"--{name}: '{value}'")

    def test_words(self) -> None:
        """Where one of a few words is wanted, another is refused and those are told."""
        self.assert_usage_error(*EMPTY, "--mode", "init_only", says="serve, validate, explain")
        self.assert_usage_error(*EMPTY, "--mode", "validate", "--format", "xml", says="text, json")
        self.assert_usage_error(*EMPTY, "--drain-strategy", "slow", says="gradual, immediate")

    def test_log_level(self) -> None:
        """A level that does not exist is refused and the levels are told; capitals are no level, as
        for Envoy.
        """
        self.assert_usage_error(
            *EMPTY, "-l", "loud", says="trace, debug, info, warning, error, critical, off"
        )
        self.assert_usage_error(*EMPTY, "-l", "INFO", says="INFO")

    def test_component_log_level(self) -> None:
        """A component or a level that does not exist is refused, and a component without a
        level.
        """
        self.assert_usage_error(*EMPTY, "--component-log-level", "kitchen:debug", says="kitchen")
        self.assert_usage_error(*EMPTY, "--component-log-level", "upstream:loud", says="loud")
        self.assert_usage_error(
            *EMPTY, "--component-log-level", "upstream", says="--component-log-level"
        )

    def test_fine_grain(self) -> None:
        """--component-log-level and --enable-fine-grain-logging are one or the other, as for
        Envoy.
        """
        self.assert_usage_error(
            *EMPTY,
            "--component-log-level=main:info",
            "--enable-fine-grain-logging",
            says="--component-log-level will not work with --enable-fine-grain-logging",
        )

    def test_format_of_nothing(self) -> None:
        """--format json is refused where nothing is printed."""
        self.assert_usage_error(*EMPTY, "--format", "json", says="--mode validate")

    def test_nothing_to_serve(self) -> None:
        """Without a configuration there is nothing to do, in any mode."""
        self.assert_usage_error(says="--config")
        self.assert_usage_error("--mode", "validate", says="--config")
        self.assert_usage_error("--mode", "explain", says="--config")


class ConfigurationTests(OptionsTestCase):
    """A configuration is judged before anything starts."""

    def test_bad(self) -> None:
        """All problems are told at once, each with file, line and column, and the status is 1, in
        each mode.
        """
        path = self.file(BAD)
        for mode in ("serve", "validate", "explain"):
            self.err.truncate(0)
            self.assertEqual(1, self.ends("-c", path, "--mode", mode))
            self.assertIn(f"{path}:4:5: static_resources.listeners[0]", self.err.getvalue())
            self.assertIn(f"{path}:7:", self.err.getvalue())
            self.assertEqual("", self.out.getvalue())

    def test_missing_file(self) -> None:
        """A file that cannot be read is named, and the status is 1."""
        self.assertEqual(1, self.ends("-c", "/no/such/file.yaml"))
        self.assertIn("/no/such/file.yaml", self.err.getvalue())

    def test_endless_file(self) -> None:
        """A file that is larger than any configuration, or has no end, is refused and not read
        on.
        """
        self.patch(files, "MAX_BYTES", 1 << 20)
        self.assertEqual(1, self.ends("-c", "/dev/zero"))
        self.assertEqual(
            "/dev/zero: cannot read the configuration: it is larger than 1 MiB\n",
            self.err.getvalue(),
        )

    def test_interrupted(self) -> None:
        """Ctrl-C while a large file is read ends it with the status of an interrupted program,
        without a traceback.
        """

        def interrupted(*arguments: Any, **more: Any) -> None:
            raise KeyboardInterrupt

        self.patch(tap, "load", interrupted)
        self.assertEqual(130, self.ends(*EMPTY))

    def test_validate(self) -> None:
        """Validation of a good file says so in Envoy's words and ends with status 0."""
        path = self.file("{}")
        self.assertEqual(0, self.ends("-c", path, "--mode", "validate"))
        self.assertEqual(f"configuration '{path}' OK\n", self.out.getvalue())

    def test_validate_text(self) -> None:
        """Validation of text alone names no file."""
        self.assertEqual(0, self.ends(*EMPTY, "--mode", "validate"))
        self.assertEqual("configuration '' OK\n", self.out.getvalue())

    def test_warning(self) -> None:
        """A tcp_proxy to a cluster that nobody defines is fine, with a warning that has its
        line.
        """
        path = self.file(UNKNOWN_CLUSTER)
        options = self.parse("-c", path)
        self.assertIsNotNone(options.loaded)
        self.assertIn(f"{path}:11:", self.err.getvalue())
        self.assertIn("nobody", self.err.getvalue())

    def test_warning_beside_an_error(self) -> None:
        """Warnings are told beside errors, sorted by place, so that nobody mends a file twice."""
        path = self.file(UNKNOWN_CLUSTER + "stats_flush_interval: 1\n")
        self.assertEqual(1, self.ends("-c", path))
        warning, error = self.err.getvalue().splitlines()
        self.assertIn("warning: no cluster is named 'nobody'", warning)
        self.assertIn("stats_flush_interval: expected a duration", error)


class OutputTests(OptionsTestCase):
    """A standard output that does not take what is printed."""

    def output(self, encoding: str = "utf-8", path: str = "") -> None:
        """Let standard output be this file, or a pipe whose reader has gone."""
        reader, writer = os.pipe()
        os.close(reader)
        if path:
            os.close(writer)
            writer = os.open(path, os.O_WRONLY | os.O_CREAT)
        stream = open(writer, "w", encoding=encoding)  # noqa: SIM115 - closed below
        self.addCleanup(stream.close)
        self.patch(sys, "stdout", stream)

    def test_reader_gone(self) -> None:
        """Whoever reads may have seen enough, as `head` has: that changes no exit status, and
        nothing complains of it.
        """
        for arguments in (
            [*SERVING, "--mode", "validate"],
            [*SERVING, "--mode", "explain", "--format", "json"],
            ["--help"],
            ["--version"],
        ):
            self.output()
            self.assertEqual(0, self.ends(*arguments))
        self.output()
        self.assertEqual(
            1, self.ends("--config-yaml", "x: 1", "--mode", "validate", "--format", "json")
        )
        self.assertEqual("", self.err.getvalue())

    def test_disk_full(self) -> None:
        """An answer that cannot be written ends it with status 1 and the reason."""
        self.output(path="/dev/full")
        self.assertEqual(1, self.ends(*SERVING, "--mode", "validate"))
        self.assertEqual(
            "cannot write to standard output: No space left on device\n", self.err.getvalue()
        )

    def test_encoding(self) -> None:
        """What the terminal's encoding lacks is escaped."""
        path = self.mktemp()
        self.output("ascii", path)
        self.assertEqual(0, self.ends("--config-yaml", "node: {id: \u00fc}", "--mode", "explain"))
        self.assertIn("\\xfc", Path(path).read_text())


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


class FormatTests(OptionsTestCase):
    """What is printed for people and for machines."""

    def printed(self) -> Any:
        """The JSON on standard output, which is nothing else."""
        return json.loads(self.out.getvalue())

    def test_terminal(self) -> None:
        """A terminal gets the source line of each problem, and a caret under the place; so with
        warnings.
        """
        err = Terminal()
        self.patch(sys, "stderr", err)
        self.assertEqual(1, self.ends("-c", self.file(BAD)))
        self.assertIn("     4 |     adress: {}\n       |     ^\n", err.getvalue())
        self.parse("-c", self.file(UNKNOWN_CLUSTER))
        self.assertIn(
            "    11 |           cluster: nobody\n       |                    ^\n", err.getvalue()
        )

    def test_no_terminal(self) -> None:
        """A file or pipe gets one line for each problem."""
        self.assertEqual(1, self.ends("-c", self.file(BAD)))
        self.assertEqual(self.err.getvalue().count("envoy.yaml:"), self.err.getvalue().count("\n"))

    def test_json_of_bad(self) -> None:
        """With --format json a bad file's verdict is on standard output, every problem with its
        place, and the status is 1.
        """
        path = self.file(BAD)
        for mode in ("validate", "explain"):
            self.out.seek(0)
            self.out.truncate()
            self.assertEqual(1, self.ends("-c", path, "--mode", mode, "--format", "json"))
            printed = self.printed()
            self.assertFalse(printed["valid"])
            self.assertIn(
                (path, 4, 5),
                [(each["file"], each["line"], each["column"]) for each in printed["problems"]],
            )
            self.assertEqual("", self.err.getvalue())

    def test_json_of_good(self) -> None:
        """A good file's is too, with its warnings inside and nowhere else, and the status is 0."""
        path = self.file(UNKNOWN_CLUSTER)
        self.assertEqual(0, self.ends("-c", path, "--mode", "validate", "--format", "json"))
        printed = self.printed()
        self.assertEqual(
            (True, [], [11]),
            (printed["valid"], printed["problems"], [each["line"] for each in printed["warnings"]]),
        )
        self.assertEqual("", self.err.getvalue())

    def test_explain(self) -> None:
        """--mode explain prints every effective value with its source and ends with status 0;
        warnings go to standard error.
        """
        path = self.file(UNKNOWN_CLUSTER)
        self.assertEqual(0, self.ends("-c", path, "--mode", "explain"))
        self.assertRegex(self.out.getvalue(), rf"\n +cluster +nobody +{path}:11 ")
        self.assertRegex(self.out.getvalue(), r"\n +idle_timeout +3600s \(1 h\) +Envoy's default ")
        self.assertIn("nobody", self.err.getvalue())

    def test_explain_arguments(self) -> None:
        """What an option says in place of the file is shown with the option as its source."""
        arguments = (
            "--service-cluster",
            "mine",
            "--service-node",
            "here",
            "--service-zone",
            "east",
        )
        self.assertEqual(
            0, self.ends("--config-yaml", "node: {id: there}", "--mode", "explain", *arguments)
        )
        for line in (
            r"node\.id +here +--service-node",
            r"node\.cluster +mine +--service-cluster",
            r"node\.locality +/east +--service-zone",
        ):
            self.assertRegex(self.out.getvalue(), rf"\n +{line}\n?")
        self.assertNotRegex(self.out.getvalue(), r"\bthere +--config-yaml")

    def test_explain_json(self) -> None:
        """The same as JSON, with the verdict."""
        path = self.file(UNKNOWN_CLUSTER)
        self.assertEqual(0, self.ends("-c", path, "--mode", "explain", "--format", "json"))
        printed = self.printed()
        self.assertEqual(["l"], [each["name"] for each in printed["listeners"]])
        self.assertEqual(1, len(printed["warnings"]))
        self.assertEqual("", self.err.getvalue())


class UnsupportedTests(OptionsTestCase):
    """Files that use more of Envoy than there is."""

    def test_refused(self) -> None:
        """What is not supported yet is an error."""
        self.assertEqual(1, self.ends("--config-yaml", "flags_path: /x"))
        self.assertIn(
            "1:13: flags_path: Envoy knows this field, tcpmesh does not support it yet",
            self.err.getvalue(),
        )

    def test_allowed(self) -> None:
        """With --allow-unsupported it is a warning."""
        options = self.parse("--config-yaml", "flags_path: /x", "--allow-unsupported")
        self.assertIsNotNone(options.loaded)
        self.assertIn("1:13: flags_path: warning: ", self.err.getvalue())

    def test_never_unprotected(self) -> None:
        """What was to be encrypted, filtered or matched is an error all the same."""
        alts = "type.googleapis.com/envoy.extensions.transport_sockets.alts.v3.Alts"
        socket = f"{{name: t, typed_config: {{'@type': {alts}, handshaker_service: x}}}}"
        clusters = f"static_resources: {{clusters: [{{name: c, transport_socket: {socket}}}]}}"
        self.assertEqual(1, self.ends("--config-yaml", clusters, "--allow-unsupported"))
        self.assertIn("--allow-unsupported does not cover it", self.err.getvalue())


UNKNOWN_CLUSTER = """\
static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 1}}
    filter_chains:
    - filters:
      - name: t
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: t
          cluster: nobody
"""


class LogTests(OptionsTestCase):
    """Where the log goes, and what is in it."""

    def test_levels(self) -> None:
        """--log-level is for all loggers, --component-log-level for single ones."""
        levels = (
            self.parse(*EMPTY, "-l", "error", "--component-log-level", "upstream:debug,main:off")
            .log()
            .levels.get()
        )
        self.assertEqual(
            {**dict.fromkeys(LOGGERS, "error"), "upstream": "debug", "main": "off"}, levels
        )

    def test_silent_loggers(self) -> None:
        """Loggers that only Envoy has are taken with a warning that names them."""
        self.parse(*SERVING, "--component-log-level", "pool:debug,main:info,http:trace")
        self.assertEqual(
            "--component-log-level: warning: no effect on http, pool: nothing here logs under that "
            "name; see upstream\n",
            self.err.getvalue(),
        )

    def test_format(self) -> None:
        """--log-format is the shape of the lines, and --log-format-escaped escapes them."""
        options = self.parse(*EMPTY, "--log-format", "%L|%n|\t%v", "--log-format-escaped")
        self.write(options)
        self.assertIn("I|main|\\there I am\n", self.err.getvalue())

    def test_configured_format(self) -> None:
        """application_log_config says the same in the bootstrap, as text or as JSON."""
        for text, line in (
            ("text_format: '%L %v'", "I here I am\n"),
            ("json_format: {l: '%l', m: '%j', n: 1}", '{"l":"info","m":"here I am","n":1}\n'),
        ):
            config = f"application_log_config: {{log_format: {{{text}}}}}"
            self.err.truncate(self.err.seek(0))
            self.write(self.parse("--config-yaml", config))
            self.assertTrue(self.err.getvalue().endswith(f"\n{line}"), self.err.getvalue())

    def test_two_formats(self) -> None:
        """Both together are refused, with the place in the file, as Envoy does."""
        config = "application_log_config: {log_format: {text_format: '%v'}}"
        self.assertEqual(1, self.ends("--config-yaml", config, "--log-format", "%v"))
        self.assertIn(
            "--config-yaml:1:26: application_log_config.log_format: only one of",
            self.err.getvalue(),
        )

    def test_log_path(self) -> None:
        """--log-path names the file, and comes before twistd's --logfile."""
        path = self.file("", "ours.log")
        options = self.parse(*EMPTY, "--log-path", path)
        options.parent = {"logfile": "/no/such/directory/twistd.log", "nodaemon": False}  # type: ignore[assignment]
        self.write(options)
        self.assertIn("here I am", Path(path).read_text())

    def test_logfile_of_twistd(self) -> None:
        """Without --log-path it is twistd's --logfile."""
        path = self.file("", "twistd.log")
        options = self.parse(*EMPTY)
        options.parent = {"logfile": path, "nodaemon": True}  # type: ignore[assignment]
        self.write(options)
        self.assertIn("here I am", Path(path).read_text())

    def test_foreground(self) -> None:
        """In the foreground, and with a logfile of -, it is standard error."""
        for logfile in (None, "-"):
            options = self.parse(*EMPTY)
            options.parent = {"logfile": logfile, "nodaemon": True}  # type: ignore[assignment]
            self.write(options)
        self.assertEqual(2, self.err.getvalue().count("here I am"))

    def write(self, options: tap.Options) -> None:
        """Write a line to the log of these options."""
        log = options.log()
        log(
            {
                "log_level": LogLevel.info,
                "log_namespace": "main",
                "log_format": "here I am",
                "log_time": 0.0,
            }
        )


class ServiceTests(OptionsTestCase):
    """What twistd gets."""

    def test_make_service(self) -> None:
        """makeService makes the server of the configuration that was judged."""
        options = self.parse("--config-yaml", "node: {id: here}", ALONE)
        made = tap.makeService(options)
        self.assertTrue(IService.providedBy(made))
        assert isinstance(made, Server)
        self.assertEqual("here", made.bootstrap.node.id)
        self.assertEqual(options.server_options(), made.options)

    def test_warnings_are_kept(self) -> None:
        """The server knows when its configuration was read, and what was said of it, with the
        places.
        """
        made = tap.makeService(self.parse("--config-yaml", UNKNOWN_CLUSTER, ALONE))
        assert isinstance(made, Server)
        self.assertGreater(made.origin.loaded_at, 1.7e9)
        found = made.origin.warnings[0]
        self.assertRegex(found.place, r":\d+:\d+$")
        self.assertIn(found.text, self.err.getvalue())
        self.assertEqual(len(made.origin.warnings), made.origin.warning_count)

    def test_settings_in_the_log(self) -> None:
        """At the level debug the log begins with what the configuration comes to; at others that is
        not even worked out.
        """
        for level, lines in (("debug", 1), ("info", 0)):
            path = self.file("", f"{level}.log")
            tap.makeService(
                self.parse("--config-yaml", UNKNOWN_CLUSTER, ALONE, "--log-path", path, "-l", level)
            )
            written = Path(path).read_text().splitlines()
            self.assertEqual(
                lines,
                len(
                    [
                        line
                        for line in written
                        if "[debug][config]" in line and " idle_timeout " in line
                    ]
                ),
            )

    def test_other_loggers(self) -> None:
        """What libraries say through the standard library's logging is in the log, too."""
        path = self.file("", "with-others.log")
        tap.makeService(self.parse(*EMPTY, ALONE, "--log-path", path))
        logging.getLogger("kitchen").warning("it burns")
        self.assertIn("[warning][kitchen] it burns\n", Path(path).read_text())

    def test_log_that_cannot_be_opened(self) -> None:
        """A log file that cannot be opened ends the process with status 1 and its name."""
        options = self.parse(*EMPTY, "--log-path", "/no/such/directory/log")
        self.assertEqual(1, self.assertRaises(SystemExit, tap.makeService, options).code)
        self.assertIn("/no/such/directory/log", self.err.getvalue())

    def test_process_that_cannot_be(self) -> None:
        """What twistd could not do with the process ends it with status 1 and a line, before the
        configuration is looked at.
        """
        options = tap.Options()
        options.parent = {"rundir": "/no/such/directory"}  # type: ignore[assignment]
        failure = self.assertRaises(SystemExit, options.parseOptions, ["-c", "/no/such/file"])
        self.assertEqual(1, failure.code)
        self.assertEqual(
            "cannot run in the directory '/no/such/directory': No such file or directory\n",
            self.err.getvalue(),
        )

    def test_only_judged(self) -> None:
        """A configuration that is only judged needs no pid file and no other user."""
        options = tap.Options()
        options.parent = {"pidfile": "/no/such/directory/pid"}  # type: ignore[assignment]
        arguments = [*SERVING, "--mode", "validate"]
        self.assertEqual(0, self.assertRaises(SystemExit, options.parseOptions, arguments).code)

    def test_no_memory(self) -> None:
        """A configuration for which there is not enough memory is said to be so, with status 1."""

        def exhausted(*arguments: Any, **options: Any) -> None:
            raise MemoryError

        self.patch(tap, "load", exhausted)
        self.assertEqual(1, self.ends(*SERVING))
        self.assertEqual(
            "there is not enough memory to judge this configuration\n", self.err.getvalue()
        )

    def test_twist(self) -> None:
        """Under `twist`, which has none of twistd's options, the log goes to standard error."""
        options = tap.Options()
        options.parent = {"reactor": None}  # type: ignore[assignment]
        options.parseOptions(SERVING)
        self.assertEqual("", options.log().path)

    def test_plugin(self) -> None:
        """twistd knows tcpmesh by a plugin that imports nothing of it before it is asked for."""
        from twisted.plugins import tcpmesh_plugin

        self.assertEqual(
            ("tcpmesh", "tcpmesh.tap"),
            (tcpmesh_plugin.serviceMaker.tapname, tcpmesh_plugin.serviceMaker.module),
        )
        self.assertIs(tap.Options, tcpmesh_plugin.serviceMaker.options)


class CollectorTests(SynchronousTestCase):
    """The garbage collector of a proxy."""

    def test_calm(self) -> None:
        """Once clients are accepted it looks rarely, and not at what was there before, not even
        once: at ten thousand clusters that would keep clients waiting for seconds.
        """
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        looks: list[str] = []
        look = lambda phase, told: looks.append(phase)  # noqa: E731
        gc.callbacks.append(look)
        self.addCleanup(gc.callbacks.remove, look)
        collector.calm()
        self.assertEqual(([], collector.THRESHOLDS), (looks, gc.get_threshold()))
        self.assertTrue(gc.get_freeze_count())

    def test_short(self) -> None:
        """What has come since is looked at before it is so much that a look takes long."""
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        looks: list[int] = []

        def look(phase: str, told: dict[str, int]) -> None:
            if phase == "start":
                looks.append(told["generation"])

        collector.calm()
        gc.callbacks.append(look)
        self.addCleanup(gc.callbacks.remove, look)
        kept: list[list[int]] = []
        for first in range(2):
            looks.clear()
            kept.extend([] for _ in range(25_000))
            self.assertEqual({0, 1}, set(looks), first)
