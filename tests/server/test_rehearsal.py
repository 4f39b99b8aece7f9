"""What is said of extensions of other packages before anything starts."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tcpmesh.config.text.problems import Problem
from tcpmesh.server.rehearsal import AT_ONCE, Rehearsal
from tcpmesh.testing.child import TWISTD
from tests.server.reload.test_reloads import FILE_LOG, PROXY, cluster

ROOT = Path(__file__).resolve().parents[2]

ECHO = "envoy.extensions.filters.network.echo.v3.Echo"

CLUSTER = cluster("c")

CONFIG = """\
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: echo
        typed_config:
          "@type": type.googleapis.com/%s
"""

BEGIN = """\
from envoy.extensions.filters.network.echo.v3 import echo_pb2
from tcpmesh.registry import WrongConfig, extension

"""

OPTIONS = ("--disable-hot-restart", "--concurrency", "1")
FILTER = f"""\
{BEGIN}
@extension(echo_pb2.Echo)
class Echo:
    terminal = True

    def __init__(self, message, context):
        self.queue = context.network.timers.queue(5, print)
        self.queue.add("x")
        context.network.connect("anywhere", None, 5)

    def on_accept(self, connection):
        pass

    def attach(self, connection):
        pass

    def close(self):
        self.queue.stop()
"""


class ExtensionTests(SynchronousTestCase):
    """`--mode validate` with a package that brings one, and starting it."""

    def setUp(self) -> None:
        """The package, without its module."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.folder = Path(directory.name)
        installed = self.folder / "my_echo-1.0.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-echo\nVersion: 1.0\n")
        entry = f"[tcpmesh.extensions]\n{ECHO} = my_echo\n"
        (installed / "entry_points.txt").write_text(entry)
        (self.folder / "envoy.yaml").write_text(CONFIG % ECHO)

    def run_twistd(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What comes of a command line where the package's module is this."""
        (self.folder / "my_echo.py").write_text(module)
        path = f"{self.folder}{os.pathsep}{ROOT}"
        return subprocess.run(
            [TWISTD, "-n", "--pidfile=", "tcpmesh", "-c", "envoy.yaml", *OPTIONS, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def problem(self, module: str) -> dict[str, Any]:
        """The one problem that validating finds, which starting finds too, in one line."""
        ran = self.run_twistd(module, "--mode", "validate", "--format", "json")
        (problem,) = json.loads(ran.stdout)["problems"]
        started = self.run_twistd(module)
        self.assertEqual((1, 1), (ran.returncode, started.returncode))
        self.assertEqual(1, len(started.stderr.splitlines()), started.stderr)
        self.assertIn(problem["message"], started.stderr)
        return dict(problem)

    def test_good(self) -> None:
        """One that can be built is accepted, whatever it does with the network meanwhile."""
        ran = self.run_twistd(FILTER, "--mode", "validate")
        self.assertEqual((0, ""), (ran.returncode, ran.stderr))

    def test_raises(self) -> None:
        """One whose class raises is said to, with the line of its configuration."""
        found = self.problem(FILTER.replace("self.queue.add", "1 / 0; self.queue.add"))
        self.assertEqual(8, found["line"])
        self.assertEqual(
            f"my_echo.Echo, the extension for {ECHO}, cannot be built: "
            "ZeroDivisionError: division by zero",
            found["message"],
        )

    def test_ends_the_process(self) -> None:
        """One that would end the process, with a status that says all is well, does not: that is
        said of it as of any that cannot be built.
        """
        for module, words in (
            (
                FILTER.replace("self.queue.add", "raise SystemExit(0); self.queue.add"),
                f"my_echo.Echo, the extension for {ECHO}, cannot be built: SystemExit: 0",
            ),
            (
                f"raise SystemExit(0)\n{FILTER}",
                f"the module 'my_echo', which is to handle {ECHO}, cannot be imported: "
                "SystemExit: 0",
            ),
            (
                FILTER.replace("self.queue.stop()", "raise SystemExit(0)"),
                "this listener cannot be built: SystemExit: 0",
            ),
        ):
            ran = self.run_twistd(module, "--mode", "validate", "--format", "json")
            (problem,) = json.loads(ran.stdout)["problems"]
            self.assertEqual((1, words), (ran.returncode, problem["message"]))

    def test_problems(self) -> None:
        """What it says of its message has the place of the field."""
        raising = 'raise WrongConfig({"": "it is too quiet here"}); self.queue.add'
        found = self.problem(FILTER.replace("self.queue.add", raising))
        self.assertEqual("it is too quiet here", found["message"])
        self.assertIn("filters[0].typed_config", found["path"])

    def test_no_decorator(self) -> None:
        """A module that registers nothing is said to, with what is missing."""
        found = self.problem(FILTER.replace("@extension(echo_pb2.Echo)", ""))
        self.assertIn("my_echo, the module for", found["message"])
        self.assertIn("is there a class with the decorator @extension?", found["message"])

    def test_no_terminal(self) -> None:
        """A filter that does not say whether it ends its chain is told to."""
        found = self.problem(FILTER.replace("terminal = True", ""))
        self.assertIn("has no `terminal`: see INetworkFilter", found["message"])

    def test_not_the_last(self) -> None:
        """A filter that does not end its chain is not the last of one."""
        found = self.problem(FILTER.replace("terminal = True", "terminal = False"))
        self.assertIn("non-terminal filter 'echo' is number 1 of 1", found["message"])

    def test_no_attach(self) -> None:
        """One that lacks what a filter is to have is named with what that is."""
        found = self.problem(FILTER.replace("def attach", "def attached"))
        self.assertIn("has no `attach`: see INetworkFilter", found["message"])

    def test_no_close(self) -> None:
        """So is one that cannot even be given back, and of several lacks all are told."""
        module = FILTER.replace("def close", "def closed").replace("def attach", "def attached")
        found = self.problem(module)
        self.assertIn("has no `attach`, `close`: see INetworkFilter", found["message"])
        self.assertEqual(8, found["line"])

    def test_base_without_attach(self) -> None:
        """One that extends our class and forgets what makes it a filter is told so."""
        module = FILTER.replace("class Echo:", "class Echo(NetworkFilter):").replace(
            "def attach", "def attached"
        )
        found = self.problem("from tcpmesh.connection.filters import NetworkFilter\n" + module)
        self.assertIn("has no `attach`: see INetworkFilter", found["message"])


class StepsTests(SynchronousTestCase):
    """A listener of many chains, as a reload looks at it."""

    def steps_of(self, logs: dict[int, str], **more: Any) -> tuple[int, list[Problem]]:
        """How many steps that takes, and what is wrong, where chains with these numbers have access
        logs at these paths.
        """
        chains = []
        for number in range(100):
            proxy = {"@type": PROXY, "stat_prefix": f"p{number}", "cluster": "c"}
            if number in logs:
                config = {"@type": FILE_LOG, "path": logs[number]}
                proxy["access_log"] = [{"name": "f", "typed_config": config}]  # type: ignore[assignment]
            match = {"source_ports": [number + 1]}
            filters = [{"name": "t", "typed_config": proxy}]
            chains.append({"filter_chain_match": match, "filters": filters})
        default = {"filters": [dict(chains[0]["filters"][0])]}  # type: ignore[index]
        listener = {
            "name": "l",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
            "filter_chains": chains,
            "default_filter_chain": default,
            **more,
        }
        loaded = load(given={"static_resources": {"listeners": [listener], "clusters": [CLUSTER]}})
        problems: list[Problem] = []
        path = ("static_resources", "listeners", 0)
        message = loaded.bootstrap.static_resources.listeners[0]
        rehearsal = Rehearsal(loaded)
        # Made unreadable only now: else it is refused already when it is loaded.
        for log in logs.values():
            Path(log).mkdir()
        steps = sum(1 for _ in rehearsal.looking(message, path, problems))
        return steps, problems

    def test_good(self) -> None:
        """It takes many steps, and nothing is wrong with it."""
        steps, problems = self.steps_of({})
        self.assertEqual([], problems)
        self.assertGreater(steps, 100 / AT_ONCE * 2)

    def test_wrong(self) -> None:
        """What cannot be had is found in whichever chain it is."""
        for number in (0, AT_ONCE, 99):
            path = str(Path(self.mktemp()).absolute())
            _, problems = self.steps_of({number: path})
            (problem,) = problems
            self.assertIn(path, str(problem))
            self.assertIn("Is a directory", str(problem))
