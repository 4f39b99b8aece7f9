"""The console script `tcpmesh`."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

from twisted.scripts import twistd
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh import cli
from tests.config.texts import GOOD


class CommandTestCase(SynchronousTestCase):
    """A test that runs command lines, of which nothing is served."""

    def setUp(self) -> None:
        """What is printed is kept, and so is what would be run."""
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.run_with: list[Any] = []
        self.patch(twistd, "runApp", self.run_with.append)
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.path = str(folder / "envoy.yaml")
        Path(self.path).write_text(GOOD)

    def ends(self, *arguments: str) -> Any:
        """The exit status with which a command line ends."""
        try:
            cli.main(arguments)
        except SystemExit as e:
            return e.code
        return 0

    def assert_refused(self, *arguments: str, line: str) -> None:
        """A command line is refused with status 1 and this one line."""
        self.err.truncate(self.err.seek(0))
        self.assertEqual(1, self.ends(*arguments))
        self.assertEqual(f"{line}\n", self.err.getvalue())
        self.assertEqual([], self.run_with)


class RunTests(CommandTestCase):
    """`tcpmesh run`, and command lines without a command."""

    def serving(self, *arguments: str) -> tuple[Any, Any]:
        """twistd's options and ours, of a command line that serves."""
        self.run_with.clear()
        self.assertEqual(0, self.ends(*arguments), self.err.getvalue())
        (options,) = self.run_with
        return options, options.subOptions

    def test_file(self) -> None:
        """The file may be an option or stand for itself, anywhere; without a command too."""
        for arguments in (
            ("run", self.path),
            ("run", "-c", self.path),
            ("run", self.path, "--log-level", "debug"),
            ("run", "--log-level=debug", "--config-path", self.path),
            ("-c", self.path, "--log-level", "debug"),
            ("--log-level", "debug", "-c", self.path),
        ):
            _, options = self.serving(*arguments)
            self.assertEqual(self.path, options["config-path"])

    def test_foreground(self) -> None:
        """It stays in the foreground, has no pid file, and logs to standard error."""
        options, ours = self.serving("run", self.path)
        self.assertEqual((1, ""), (options["nodaemon"], options["pidfile"]))
        self.assertEqual("", ours.log()._path)
        self.assertEqual("tcpmesh", options.subCommand)
        self.assertTrue(options["no_save"])

    def test_the_plugin_serves(self) -> None:
        """What runs is the service that twistd makes."""
        options, ours = self.serving(
            "run", "--disable-hot-restart", "--config-yaml", "node: {id: here}"
        )
        made = options.loadedPlugins["tcpmesh"].makeService(ours)
        self.assertEqual("here", made.bootstrap.node.id)

    def test_user(self) -> None:
        """The user and the group that it becomes are told by name or by number; twistd gets
        numbers.
        """
        own = os.getuid(), os.getgid()
        options, _ = self.serving("run", "--uid", str(own[0]), "--gid", str(own[1]), self.path)
        self.assertEqual(own, (options["uid"], options["gid"]))
        options, _ = self.serving("run", self.path)
        self.assertEqual((None, None), (options["uid"], options["gid"]))
        if own[0] == 0:
            options, _ = self.serving("run", "--uid", "nobody", self.path)
            self.assertEqual(65534, options["uid"])

    def test_nobody_of_that_name(self) -> None:
        """A user or a group that there is not is one line."""
        more = "(--help tells of all options)"
        self.assert_refused(
            *("run", "--uid", "no-such-user", self.path),
            line=f"tcpmesh run: --uid: there is no user 'no-such-user' {more}",
        )
        self.assert_refused(
            *("--gid", "no-such-group", "-c", self.path),
            line=f"tcpmesh: --gid: there is no group 'no-such-group' {more}",
        )
        self.assert_refused(
            *("run", "--uid", "4294967295", self.path),
            line=f"tcpmesh run: --uid: there is no user '4294967295' {more}",
        )

    def test_mistakes(self) -> None:
        """A mistake is one line that names it."""
        more = "(--help tells of all options)"
        self.assert_refused(
            "run",
            line=(f"tcpmesh run: name what to serve: a FILE, or --config-yaml TEXT {more}"),
        )
        self.assert_refused(
            "run", "a", "b", line=(f"tcpmesh run: there can be one file, not a and b {more}")
        )
        self.assert_refused(
            "run", "-ca", "b", line=(f"tcpmesh run: there can be one file, not a and b {more}")
        )
        self.assert_refused(
            "-c",
            self.path,
            "--log-lvel",
            "x",
            line=(f"tcpmesh: there is no option --log-lvel; did you mean --log-level? {more}"),
        )

    def test_bad_configuration(self) -> None:
        """A configuration that is wrong is told as ever, with status 1."""
        Path(self.path).write_text("no_such: 1")
        self.assertEqual(1, self.ends("run", self.path))
        self.assertIn(f"{self.path}:1:1: no_such: unknown field", self.err.getvalue())
        self.assertEqual([], self.run_with)

    def test_modes_of_envoy(self) -> None:
        """Envoy's --mode validate serves nothing here either."""
        self.assertEqual(0, self.ends("-c", self.path, "--mode", "validate"))
        self.assertEqual(f"configuration '{self.path}' OK\n", self.out.getvalue())
        self.assertEqual([], self.run_with)


class JudgeTests(CommandTestCase):
    """`tcpmesh validate` and `tcpmesh explain`."""

    def test_validate(self) -> None:
        """A good file is said to be so with status 0, a bad one is told with 1."""
        self.assertEqual(0, self.ends("validate", self.path))
        self.assertEqual(f"configuration '{self.path}' OK\n", self.out.getvalue())
        self.assertEqual(1, self.ends("validate", "--config-yaml", "no_such: 1"))

    def test_explain(self) -> None:
        """What a file comes to is printed, also as JSON."""
        self.assertEqual(0, self.ends("explain", self.path))
        self.assertIn("listener", self.out.getvalue())
        self.out.truncate(self.out.seek(0))
        self.assertEqual(0, self.ends("explain", self.path, "--format", "json"))
        self.assertTrue(self.out.getvalue().startswith("{"))

    def test_command_line_of_run(self) -> None:
        """What `run` is given may be given to them too, so that the same line is judged."""
        self.assertEqual(0, self.ends("validate", "-c", self.path, "-ldebug", "--service-node=a"))

    def test_another_mode(self) -> None:
        """They serve nothing, whatever is asked for."""
        self.assert_refused(
            *("validate", self.path, "--mode", "serve"),
            line="tcpmesh validate: --mode is for tcpmesh run (--help tells more)",
        )

    def test_mistakes(self) -> None:
        """A mistake is one line that names it."""
        self.assert_refused(
            "explain",
            "--format=xml",
            line=("tcpmesh explain: --format: 'xml' is none of text, json (--help tells more)"),
        )


class OtherCommandsTests(CommandTestCase):
    """What is no business of a configuration."""

    def test_version(self) -> None:
        """The version is told by a command and by an option."""
        for arguments in (("version",), ("--version",), ("run", "--version")):
            self.out.truncate(self.out.seek(0))
            self.assertEqual(0, self.ends(*arguments))
            self.assertRegex(self.out.getvalue(), r"^tcpmesh \d\S*, the API of Envoy 1\.\d+, ")
        self.assert_refused(
            "version",
            "now",
            line=("tcpmesh version: it takes no arguments: 'now' (--help tells more)"),
        )

    def test_help(self) -> None:
        """Help tells of all commands, and of each its options."""
        for arguments in (["--help"], ["-h"], ["help"]):
            self.out.truncate(self.out.seek(0))
            self.assertEqual(0, self.ends(*arguments))
            for name in cli.COMMANDS:
                self.assertIn(f"\n  {name} ", self.out.getvalue())
        for name in cli.COMMANDS:
            for arguments in (["help", name], [name, "--help"]):
                self.out.truncate(self.out.seek(0))
                self.assertEqual(0, self.ends(*arguments), arguments)
                self.assertTrue(self.out.getvalue(), name)
                self.assertLessEqual(max(map(len, self.out.getvalue().splitlines())), 80)

    def test_help_of_judging(self) -> None:
        """Help of what serves nothing tells of the options that count there."""
        self.assertEqual(0, self.ends("validate", "--help"))
        self.assertIn("--allow-unsupported", self.out.getvalue())
        for name in ("--log-level", "--mode"):
            self.assertNotIn(name, self.out.getvalue())

    def test_nothing(self) -> None:
        """Without a word it says what can be done, on standard error, with status 1."""
        self.assertEqual(1, self.ends())
        self.assertIn("tcpmesh run envoy.yaml", self.err.getvalue())

    def test_unknown(self) -> None:
        """A command that there is not is told with the one that was meant; a file is no
        command.
        """
        self.assert_refused(
            "valdiate", line="tcpmesh: there is no command 'valdiate'; did you mean validate?"
        )
        self.assert_refused(
            self.path,
            line=(
                f"tcpmesh: there is no command '{self.path}'; did you mean: tcpmesh run {self.path}"
            ),
        )
        self.assert_refused(
            "help",
            "cook",
            line=(f"tcpmesh: there is no command 'cook'; there are {', '.join(cli.COMMANDS)}"),
        )

    def test_completion(self) -> None:
        """A script for each of three shells; of another those are told."""
        for shell in ("bash", "zsh", "fish"):
            self.out.truncate(self.out.seek(0))
            self.assertEqual(0, self.ends("completion", shell))
            self.assertIn(f"Completion of tcpmesh for {shell}", self.out.getvalue())
        for arguments in ((), ("tcsh",), ("bash", "zsh")):
            self.assert_refused(
                "completion",
                *arguments,
                line=("tcpmesh completion: name a shell: bash, zsh, fish (--help tells more)"),
            )

    def test_interrupted(self) -> None:
        """Ctrl-C while it works ends it with the status of an interrupted program."""

        def interrupted(*arguments: Any) -> None:
            raise KeyboardInterrupt

        self.patch(cli, "_unknown", interrupted)
        self.assertEqual(130, self.ends("x"))
