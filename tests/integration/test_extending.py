"""What docs/extending.md promises to whoever writes an extension, done by the letter."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import TWISTD, Process, free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()

CONFIG = """
static_resources:
  listeners:
  - name: front
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: echo
        typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo }
"""

#: More than any buffer on the way holds, so that the example's backpressure is needed.
MANY = 20_000_000

OFFLINE = ("--quiet", "--no-index", "--no-build-isolation", "--no-deps")


def files() -> dict[str, str]:
    """The files that the page shows, by their names."""
    return dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


def block_after(text: str, language: str) -> str:
    """The first block in a language that comes after a text."""
    (block,) = re.findall(
        rf"^```{language}\n(.*?)^```", PAGE.partition(text)[2], re.DOTALL | re.MULTILINE
    )[:1]
    return str(block)


class ExtendingTestCase(SynchronousTestCase):
    """An empty folder, and the programs of this installation."""

    def setUp(self) -> None:
        """Make it."""
        self.folder = Path(tempfile.mkdtemp(prefix="tcpmesh-extending-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = str(ROOT)

    def run_program(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the folder to its end."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": self.path},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run_module(self, *arguments: str) -> str:
        """What a module of Python prints, run as a program; it has to succeed."""
        result = self.run_program(sys.executable, "-m", *arguments)
        self.assertEqual(0, result.returncode, result.stdout)
        return result.stdout

    @contextmanager
    def proxy(self, config: str) -> Iterator[tuple[str, int]]:
        """Start a proxy; where its listener is."""
        command = [TWISTD, "--nodaemon", "--pidfile=", "tcpmesh", "--config", config]
        command.append("--disable-hot-restart")
        environ = {"PYTHONPATH": self.path}
        with Process(command, self.folder / "output", environ) as proxy:
            proxy.wait_output("starting workers")
            (port,) = re.findall(r"listener front is open on 127\.0\.0\.1:(\d+)", proxy.output)
            yield "127.0.0.1", int(port)


class PackageTests(ExtendingTestCase):
    """The package with which the page begins."""

    def setUp(self) -> None:
        """Write its files, and install it for this test alone."""
        super().setUp()
        found = files()
        for name in ("my_shout.py", "pyproject.toml", "envoy.yaml", "my_shout.proto"):
            (self.folder / name).write_text(found[name])
        self.configure(found["envoy.yaml"].replace("10000", str(free_port())))

    def configure(self, text: str) -> None:
        """This is the configuration."""
        (self.folder / "envoy.yaml").write_text(text)

    def install(self) -> None:
        """As the page says, without asking a registry for anything."""
        site = self.folder / "site"
        self.run_module("pip", "install", *OFFLINE, "--target", str(site), ".")
        self.path = f"{site}{os.pathsep}{ROOT}"
        (self.folder / "my_shout.py").unlink()  # what is installed is what runs

    def validate(self) -> str:
        """What is said of the configuration."""
        return self.run_program(sys.executable, "-m", "tcpmesh", "validate", "envoy.yaml").stdout

    def test_struct(self) -> None:
        """It is installed, judged and run; what is wrong in the configuration is said with its
        place, as the page shows.
        """
        self.install()
        self.assertEqual("configuration 'envoy.yaml' OK\n", self.validate())
        with (
            self.proxy("envoy.yaml") as address,
            socket.create_connection(address, timeout=20.0) as client,
        ):
            client.sendall(b"it is me")
            client.shutdown(socket.SHUT_WR)
            answer = client.makefile("rb").read()
        self.assertEqual(b"who is there?\nIT IS ME", answer)
        text = (self.folder / "envoy.yaml").read_text()
        self.configure(text.replace("greeting: who is there?", "greting: hello"))
        shown = block_after("of `greting: hello` is said", "")
        self.assertEqual(shown, self.validate())

    def test_message(self) -> None:
        """With a message that protoc has made of the page's schema it is the same, with what the
        class says by itself; neither module has a mistake of type.
        """
        self.run_module(
            "grpc_tools.protoc", "-I.", "--python_out=.", "--pyi_out=.", "my_shout.proto"
        )
        module = block_after("the schema cannot", "python")
        (self.folder / "my_shout.py").rename(self.folder / "with_struct.py")
        (self.folder / "my_shout.py").write_text(module)
        self.run_module("mypy", "--strict", "my_shout.py", "with_struct.py")
        project = (self.folder / "pyproject.toml").read_text()
        (self.folder / "pyproject.toml").write_text(
            project.replace('["my_shout"]', '["my_shout", "my_shout_pb2"]')
        )
        self.install()
        text = (self.folder / "envoy.yaml").read_text()
        head, _, tail = text.partition('          "@type": type.googleapis.com/xds')
        fields = block_after("or in a TypedStruct all the same", "yaml").splitlines()
        own = "\n".join(f"          {line}" for line in fields)
        text = f"{head}{own}\n      - name: echo{tail.partition('- name: echo')[2]}"
        self.configure(text)
        self.assertEqual("configuration 'envoy.yaml' OK\n", self.validate())
        for wrong, place, words in (
            ("greting: x", "10:11:", "did you mean 'greeting'?"),
            (f"greeting: {'x' * 101}", "10:21:", "nobody listens that long"),
        ):
            self.configure(text.replace("greeting: who is there?", wrong))
            said = self.validate()
            self.assertIn(f"envoy.yaml:{place}", said)
            self.assertIn(words, said)


class EchoTests(ExtendingTestCase):
    """The example of a filter that ends its chain, in place of tcpmesh's own."""

    def setUp(self) -> None:
        """Write the page's module, and the entry point that it tells to declare, where Python finds
        them.
        """
        super().setUp()
        (entry,) = re.findall(
            r'```toml\n\[project\.entry-points\."(.*?)"\]\n"(.*?)" = "(.*?)"\n```', PAGE
        )
        (self.folder / f"{entry[2]}.py").write_text(files()["my_echo.py"])
        installed = self.folder / "my_echo-1.0.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-echo\nVersion: 1.0\n")
        (installed / "entry_points.txt").write_text(f"[{entry[0]}]\n{entry[1]} = {entry[2]}\n")
        self.path = f"{self.folder}{os.pathsep}{ROOT}"

    def test_the_example_echoes(self) -> None:
        """The proxy accepts the type, and the filter sends back all that a client sends, then
        closes.
        """

        def send() -> None:
            client.sendall(bytes(MANY))
            client.shutdown(socket.SHUT_WR)

        (self.folder / "echo.yaml").write_text(CONFIG)
        with (
            self.proxy("echo.yaml") as address,
            socket.create_connection(address, timeout=20.0) as client,
        ):
            sender = threading.Thread(target=send)
            sender.start()
            echoed = 0
            while received := client.recv(1 << 16):
                echoed += len(received)
            sender.join()

        self.assertEqual(MANY, echoed)
