"""A real `twistd tcpmesh` whose file changes while clients are connected."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import Child, connectable, free_port
from tests.integration.troubled import Echo, cluster, listener, place

TCPMESH = [sys.executable, "-m", "tcpmesh"]


class ReloadTests(SynchronousTestCase):
    """One proxy, and its file as an operator changes it."""

    def setUp(self) -> None:
        """An echo server, and a proxy with a listener before it."""
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.host = stack.enter_context(Echo()).port
        self.port = free_port()
        self.config: dict[str, Any] = {
            "admin": {"address": place(0)},
            "static_resources": {
                "listeners": [listener("front", self.port, "a")],
                "clusters": [cluster("a", self.host)],
            },
        }
        self.child = stack.enter_context(Child(json.dumps(self.config)))
        self.child.wait_ready()

    @property
    def listeners(self) -> list[Any]:
        """Those of the configuration that comes next."""
        found: list[Any] = self.config["static_resources"]["listeners"]
        return found

    def write(self) -> None:
        """Replace the file."""
        new = self.child.path / "new"
        new.write_text(json.dumps(self.config, indent=1))
        os.replace(new, self.child.path / "envoy.yaml")

    def tell(self, *arguments: str) -> tuple[int, str]:
        """Run `tcpmesh reload`: its status, and all that it prints."""
        admin = (self.child.path / "admin.address").read_text()
        command = [*TCPMESH, "reload", "--admin", admin, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    @contextmanager
    def client(self, port: int) -> Iterator[socket.socket]:
        """One that is connected, and has had an answer."""
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            self.echoes(client)
            yield client

    def echoes(self, client: socket.socket) -> None:
        """It gets what it sends."""
        client.sendall(b"x")
        self.assertEqual(b"x", client.recv(10))

    def test_operator(self) -> None:
        """What changes is applied and told, what is wrong is refused and told, by signal and by
        command; clients of what did not change notice nothing.
        """
        with self.client(self.port) as old:
            self.check_added()
            self.check_signal()
            self.check_refused()
            self.check_moved(old)
            self.check_rollback()
            self.echoes(old)
        self.assertNotIn("Traceback", self.child.output)

    def check_added(self) -> None:
        """A dry run, and then a listener more."""
        self.added = free_port()
        self.listeners.append(listener("second", self.added, "a"))
        self.write()
        status, text = self.child.admin("/reload?dry_run", "POST")
        self.assertEqual((200, "  listener second added\n"), (status, text.partition("\n")[2]))
        self.assertFalse(connectable("127.0.0.1", self.added))
        status, text = self.tell()
        self.assertEqual((0, "  listener second added\n"), (status, text.partition("\n")[2]))
        with self.client(self.added):
            pass
        self.assertEqual((0, 1), self.counts("listener_modified", "listener_create_success"))

    def counts(self, *names: str) -> tuple[int, ...]:
        """What the listener manager has counted since; of created ones those after the first."""
        stats = self.child.stats()
        found = {name: stats[f"listener_manager.{name}"] for name in names}
        if "listener_create_success" in found:
            found["listener_create_success"] -= 1
        return tuple(found.values())

    def check_signal(self) -> None:
        """SIGHUP does the same."""
        self.listeners.pop()
        self.write()
        self.child.signal(signal.SIGHUP)
        self.child.wait_stat("tcpmesh.reload.success", 2)
        self.assertFalse(connectable("127.0.0.1", self.added))
        self.assertIn("caught SIGHUP", self.child.output)
        self.assertIn("listener second removed", self.child.output)

    def check_refused(self) -> None:
        """A file that is wrong, an address that is taken, and what needs a restart."""
        good = json.dumps(self.config)
        self.config["static_resources"]["clusters"][0]["nane"] = "x"
        self.write()
        status, text = self.tell()
        self.assertEqual(1, status)
        self.assertRegex(text, r"envoy\.yaml:\d+:\d+: static_resources\.clusters\[0\]\.nane: ")
        self.config = json.loads(good)
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            self.listeners.append(listener("taken", port, "a"))
            self.write()
            status, text = self.tell("--json")
            self.assertEqual(1, status)
            self.assertIn(f"cannot bind '127.0.0.1:{port}'", json.loads(text)["errors"][0])
        self.config = json.loads(good)
        self.config["node"] = {"id": "other"}
        self.write()
        status, text = self.child.admin("/reload", "POST")
        self.assertEqual(400, status)
        self.assertIn("node: it cannot change while the proxy runs", text)
        self.assertEqual(3, self.child.stat("tcpmesh.reload.rejected"))
        self.config = json.loads(good)

    def check_moved(self, old: socket.socket) -> None:
        """A listener has another name and another kind of socket, and its address is open to new
        clients; those of before go on under the old one.
        """
        self.listeners[0]["name"] = "renamed"
        self.listeners[0]["enable_reuse_port"] = False
        self.write()
        status, text = self.child.admin("/reload", "POST")
        self.assertEqual(200, status, text)
        self.echoes(old)
        with self.client(self.port):
            pass
        self.assertEqual([f"renamed::127.0.0.1:{self.port}"], self.open_listeners())

    def open_listeners(self) -> list[str]:
        """As the admin interface has them."""
        return self.child.admin("/listeners")[1].split()

    def check_rollback(self) -> None:
        """The configuration before is served again."""
        status, text = self.tell("--rollback")
        self.assertEqual(0, status, text)
        self.assertEqual([f"front::127.0.0.1:{self.port}"], self.open_listeners())
        with self.client(self.port):
            pass
        status, text = self.child.admin("/reload/history")
        self.assertEqual(200, status)
        heads = [line.split(maxsplit=3) for line in text.splitlines() if line[0].isdecimal()]
        self.assertEqual(
            ["rollback to 3", "request", "signal", "request", "start"], [each[3] for each in heads]
        )
        self.assertEqual(heads[0][2], heads[2][2], "the same version again")
