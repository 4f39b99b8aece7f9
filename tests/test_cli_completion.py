"""Completion scripts, in the shells that are installed."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tcpmesh.cli import _commands
from tcpmesh.cli_completion import SHELLS

BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _tcpmesh; printf '%s\\n' "${COMPREPLY[@]}"
"""


class ShellTestCase(SynchronousTestCase):
    """A test with a shell, whose script is in a file."""

    shell = ""

    def setUp(self) -> None:
        """Write the script; skipped where there is no such shell."""
        if shutil.which(self.shell) is None:
            raise SkipTest(f"{self.shell} is not installed")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.script = self.folder / "script"
        self.script.write_text(SHELLS[self.shell](_commands()))
        self.environ = {**os.environ, "HOME": folder.name, "XDG_CONFIG_HOME": folder.name}

    def output(self, *command: str) -> list[str]:
        """The lines that a command prints."""
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=30, env=self.environ, check=False
        )
        self.assertEqual("", result.stderr)
        return result.stdout.split("\n")[:-1]


class BashTests(ShellTestCase):
    """bash."""

    shell = "bash"

    def complete(self, *words: str) -> list[str]:
        """What the last word may become."""
        return self.output("bash", "-c", BASH, "bash", str(self.script), "tcpmesh", *words)

    def test_words(self) -> None:
        """Commands, options and the values of options are completed."""
        for words, expected in (
            (("v",), ["validate", "version"]),
            (("run", "--log-l"), ["--log-level"]),
            (("con",), ["connections"]),
            (("top", "--vi"), ["--view"]),
            (("top", "--view", "ho"), ["hosts"]),
            (("connections", "--cl"), ["--closed"]),
            (("run", "--log-level", "d"), ["debug"]),
            (("run", "--log-level", "=", "d"), ["debug"]),
            (("run", "--drain-strategy", "="), ["gradual", "immediate"]),
            (("--drain-s",), ["--drain-strategy"]),
            (("validate", "--mod"), [""]),
            (("completion", ""), ["bash", "zsh", "fish"]),
            (("run", "--uid", "roo"), ["root"]),
        ):
            self.assertEqual(expected, self.complete(*words), words)

    def test_files(self) -> None:
        """Where a file is wanted bash is left to complete its name."""
        for words in (("run", "-c", ""), ("run", "--log-path", ""), ("explain", "")):
            self.assertEqual([""], self.complete(*words))


class FishTests(ShellTestCase):
    """fish."""

    shell = "fish"

    def complete(self, line: str) -> list[str]:
        """What the last word may become."""
        code = f"source {self.script}; complete -C '{line}'"
        return [each.split("\t")[0] for each in self.output("fish", "-c", code)]

    def test_words(self) -> None:
        """Commands, options and the values of options are completed, with what they do."""
        for line, expected in (
            ("tcpmesh v", ["validate", "version"]),
            ("tcpmesh run --log-l", ["--log-level"]),
            ("tcpmesh run --log-level d", ["debug"]),
            ("tcpmesh --drain-s", ["--drain-strategy"]),
            ("tcpmesh validate --mod", []),
            ("tcpmesh completion ", ["bash", "fish", "zsh"]),
            ("tcpmesh run --uid roo", ["root"]),
        ):
            self.assertEqual(expected, self.complete(line), line)


class ZshTests(ShellTestCase):
    """zsh, at a terminal, for it completes nowhere else."""

    shell = "zsh"

    def setUp(self) -> None:
        """An interactive shell with the script."""
        super().setUp()
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.execvpe("zsh", ["zsh", "-f", "-i"], {**self.environ, "TERM": "dumb", "PS1": "> "})
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.close, self.terminal)
        self.read_until("> ")
        start = (
            f"autoload -Uz compinit; compinit -u -D; source {self.script}; print -n rea; print dy\n"
        )
        os.write(self.terminal, start.encode())
        self.read_until("ready")

    def read_until(self, text: str) -> str:
        """What the shell writes until there is this."""
        found = ""
        while text not in found:
            if not select.select([self.terminal], [], [], 20.0)[0]:
                self.fail(f"{text!r} is not in {found!r}")
            found += os.read(self.terminal, 65536).decode()
        return found

    def test_words(self) -> None:
        """Commands, options and the values of options are completed."""
        for line, expected in (
            ("tcpmesh val", "tcpmesh validate "),
            ("tcpmesh run --log-l", "tcpmesh run --log-level="),
            ("tcpmesh run --log-level d", "tcpmesh run --log-level debug "),
            ("tcpmesh run --log-level=d", "tcpmesh run --log-level=debug "),
            ("tcpmesh --drain-s", "tcpmesh --drain-strategy="),
            ("tcpmesh completion z", "tcpmesh completion zsh "),
            ("tcpmesh run --uid roo", "tcpmesh run --uid root "),
            (f"tcpmesh explain {self.script}"[:-2], f"tcpmesh explain {self.script} "),
        ):
            os.write(self.terminal, f"{line}\t".encode())
            self.read_until(expected)
            os.write(self.terminal, b"\x15")


class ScriptTests(SynchronousTestCase):
    """The scripts as texts."""

    def test_every_option(self) -> None:
        """Each names all commands and all options."""
        commands = _commands()
        for name, make in SHELLS.items():
            script = make(commands)
            for command, (_, options, _) in commands.items():
                self.assertIn(command, script)
                for option in options:
                    written = f"-l {option.name}" if name == "fish" else f"--{option.name}"
                    self.assertIn(written, script)

    def test_fish(self) -> None:
        """In fish an option belongs to its command, those of `run` also to none, and what takes a
        value wants one.
        """
        commands = _commands()
        lines = SHELLS["fish"](commands).splitlines()
        others = " ".join(name for name in commands if name != "run")
        for command, (_, options, _) in commands.items():
            is_here = f"__fish_seen_subcommand_from {command}"
            if command == "run":
                is_here = f"not __fish_seen_subcommand_from {others}"
            start = f"complete -c tcpmesh -n '{is_here}' -l "
            found = [line.removeprefix(start) for line in lines if line.startswith(start)]
            self.assertEqual([option.name for option in options], [x.split()[0] for x in found])
            for option, line in zip(options, found, strict=True):
                wants = " -x" in line or " -r -F" in line
                self.assertIs(option.takes_value, wants, line)
