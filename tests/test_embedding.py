"""A proxy as a part of this program, which is trial."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from tcpmesh import CannotStart, ConfigError, Proxy
from tests.integration.embedded import address, config, state_of, unanswering

FILTER = "type.googleapis.com/envoy.extensions.filters.network"
TIMES = 100

reactor: Any = global_reactor


def plain(port: int = 0, answer: str = "hello", name: str = "front") -> dict[str, Any]:
    """A configuration that answers each client, as a dictionary."""
    typed = {
        "@type": f"{FILTER}.direct_response.v3.Config",
        "response": {"inline_string": answer},
    }
    place = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    chain = {"filters": [{"name": "f", "typed_config": typed}]}
    listener = {"name": name, "address": place, "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener]}}


class Received(Protocol):
    """Keeps what it gets until the other side ends."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Something came."""
        self.data += data

    def connectionLost(self, reason: object = None) -> None:
        """It is over."""
        self.ended.callback(self.data)


async def answer_of(port: int) -> bytes:
    """What a client gets at a port."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    received: Received = await connectProtocol(endpoint, Received())
    return await received.ended


async def once_watched() -> None:
    """Twisted keeps a descriptor in reserve from its first port on."""
    port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
    await port.stopListening()


def state() -> list[str]:
    """What the reactor and the system have of this process, without the timeout of this test."""
    return [each for each in state_of(reactor) if "onTimeout" not in each]


def process_state() -> list[Any]:
    """What belongs to a process, and no library may change."""
    umask = os.umask(0)
    os.umask(umask)
    return [
        [signal.getsignal(number) for number in signal.valid_signals()],
        (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()),
        [resource.getrlimit(which) for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)],
        (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr),
        list(globalLogPublisher._observers),
        (umask, os.getcwd(), dict(os.environ)),
    ]


class LifeTests(TestCase):
    """Started and stopped."""

    async def test_a_hundred_times(self) -> None:
        """A hundred starts and stops leave no reader, no timer, no thread and no descriptor, and
        all that belongs to the process is as it was.
        """
        await once_watched()
        proxy = Proxy(bootstrap=plain())
        threads, before, process = threading.enumerate(), state(), process_state()
        for _ in range(TIMES):
            await proxy.start()
            self.assertEqual(b"hello", await answer_of(proxy.port("front")))
            await proxy.stop()
        self.assertEqual(before, state())
        self.assertEqual(threads, threading.enumerate())
        self.assertEqual(process, process_state())

    async def test_with(self) -> None:
        """In `async with` it serves, and after it does not."""
        async with Proxy(bootstrap=plain()) as proxy:
            port = proxy.port("front")
            self.assertEqual((f"127.0.0.1:{port}",), proxy.addresses("front"))
            self.assertEqual(b"hello", await answer_of(port))
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
        self.assertRaises(LookupError, proxy.port, "front")

    async def test_side_by_side(self) -> None:
        """Two in one process serve each its own, and one goes on when the other is stopped."""
        async with Proxy(bootstrap=plain(answer="b")) as other:
            async with Proxy(bootstrap=plain(answer="a")) as proxy:
                ports = proxy.port("front"), other.port("front")
                self.assertEqual([b"a", b"b"], [await answer_of(port) for port in ports])
            self.assertEqual(b"b", await answer_of(other.port("front")))

    async def test_started_twice(self) -> None:
        """Who starts it a second time before it has stopped is told."""
        async with Proxy(bootstrap=plain()) as proxy:
            self.assertRaises(RuntimeError, proxy.start)
        self.successResultOf(proxy.stop())

    async def test_cannot_bind(self) -> None:
        """An address that is taken fails the start, by its name; once it is free the same proxy
        starts.
        """
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            proxy = Proxy(bootstrap=plain(port))
            with self.assertRaises(CannotStart) as raised:
                await proxy.start()
            self.assertIn(f"127.0.0.1:{port}", str(raised.exception))
        async with proxy:
            self.assertEqual(b"hello", await answer_of(port))

    def waiting(self) -> Proxy:
        """A proxy that does not get to serve: a cluster waits for names that nobody tells."""
        held = unanswering()
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind(("127.0.0.1", 0))
        for sock in (*held, names):
            self.addCleanup(sock.close)
        mute = held[0].getsockname()[1]
        text = config(mute, mute, names.getsockname()[1])
        return Proxy(config_yaml=text.replace("wait_for_warm_on_init: false", ""))

    async def test_stopped_while_starting(self) -> None:
        """A start that is stopped, or cancelled, before it serves fails as cancelled, and nothing
        is left.
        """
        await once_watched()
        proxy = self.waiting()
        before = state()
        ends: list[Callable[[Deferred[None]], object]] = [
            lambda started: proxy.stop(),
            lambda started: started.cancel(),
        ]
        for end in ends:
            started = proxy.start()
            self.assertNoResult(started)
            self.assertRaises(LookupError, proxy.port, "relaying")
            end(started)
            self.failureResultOf(started, CancelledError)
            await proxy.stop()
            self.assertEqual(before, state())

    async def test_quit(self) -> None:
        """`/quitquitquit` of its admin interface stops the proxy, and not the program."""
        admin = f"admin: {{address: {address(0)}}}"
        proxy = Proxy(bootstrap=plain(), config_yaml=admin)
        await proxy.start()
        self.assertEqual(f"127.0.0.1:{proxy.admin_port}", proxy.admin_address)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", proxy.admin_port)
        client = await connectProtocol(endpoint, Received())
        client.transport.write(
            b"POST /quitquitquit HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertIn(b"200 OK", await client.ended)
        await proxy.stop()
        self.assertRaises(LookupError, getattr, proxy, "admin_port")

    async def test_reactor_stops(self) -> None:
        """Where the reactor stops, it waits until the proxy has; a proxy that was stopped before is
        not asked any more.
        """
        triggers: list[Callable[[], Awaitable[None]]] = []

        class Stopping:
            """The reactor, but for what it does at its end."""

            def __getattr__(self, name: str) -> Any:
                return getattr(reactor, name)

            def addSystemEventTrigger(self, *args: Any) -> int:
                self.trigger = args
                triggers.append(args[2])
                return len(triggers)

            def removeSystemEventTrigger(self, number: int) -> None:
                triggers.pop()

        proxy = Proxy(bootstrap=plain(), reactor=Stopping())
        await proxy.start()
        await proxy.stop()
        self.assertEqual([], triggers)
        await proxy.start()
        await triggers[0]()
        self.assertRaises(LookupError, proxy.port, "front")


class AddressTests(TestCase):
    """Where it is reached."""

    async def test_unknown(self) -> None:
        """Who asks for a listener that there is not is told which there are."""
        async with Proxy(bootstrap=plain()) as proxy:
            error = self.assertRaises(LookupError, proxy.port, "frnt")
            self.assertIn("'frnt' is open; there are: front", str(error))
            self.assertRaises(LookupError, getattr, proxy, "admin_address")

    async def test_unix_socket(self) -> None:
        """A listener on a unix socket has an address and no port."""
        with tempfile.TemporaryDirectory() as folder:
            made = plain()
            path = f"{folder}/s"
            made["static_resources"]["listeners"][0]["address"] = {"pipe": {"path": path}}
            async with Proxy(bootstrap=made) as proxy:
                self.assertEqual((path,), proxy.addresses("front"))
                self.assertRaises(LookupError, proxy.port, "front")


class ConfigurationTests(TestCase):
    """Where the configuration comes from, and what is said of one that is wrong."""

    YAML = (
        "static_resources:\n  listeners:\n  - name: front\n"
        f"    address: {address(0)}\n    filter_chains: []\n    nonsense: 1\n"
    )

    async def test_file_and_yaml(self) -> None:
        """A file is served, with YAML merged over it."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "envoy.yaml"
            text = self.YAML.replace("    nonsense: 1\n", "")
            path.write_text(text.replace("filter_chains: []", "filter_chains: [{}]"))
            async with Proxy(path, config_yaml=f"admin: {{address: {address(0)}}}") as proxy:
                self.assertTrue(proxy.port("front"))
                self.assertTrue(proxy.admin_port)

    async def test_message(self) -> None:
        """A message of Envoy's schema is served; the one that was given is not changed."""
        message = Bootstrap()
        listener = message.static_resources.listeners.add(name="front")
        listener.address.socket_address.address = "127.0.0.1"
        listener.address.socket_address.port_value = 0
        listener.filter_chains.add()
        before = message.SerializeToString()
        async with Proxy(bootstrap=message, config_yaml="node: {id: a}") as proxy:
            self.assertTrue(proxy.port("front"))
        self.assertEqual(before, message.SerializeToString())

    def test_wrong_text(self) -> None:
        """One exception has all problems, each with its line, and the lines themselves."""
        error = self.assertRaises(ConfigError, Proxy, config_yaml=self.YAML)
        self.assertIn("config_yaml:6:5: static_resources.listeners[0].nonsense", str(error))
        self.assertIn("\n     6 |     nonsense: 1\n", error.render())

    def test_wrong_file(self) -> None:
        """So it is of a file, and of one that is not there."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "envoy.yaml"
            error = self.assertRaises(ConfigError, Proxy, path)
            self.assertIn(f"{path}: cannot read the configuration: No such file", str(error))
            path.write_text(self.YAML)
            self.assertIn(f"{path}:6:5: ", str(self.assertRaises(ConfigError, Proxy, path)))

    def test_wrong_mapping(self) -> None:
        """Of a dictionary the path to each field is told, and a line of it as JSON; one that no
        JSON has is refused too.
        """
        error = self.assertRaises(ConfigError, Proxy, bootstrap={"admin": {}, "adnim": {}})
        self.assertIn("bootstrap:3:2: adnim: ", str(error))
        loop: dict[str, Any] = {}
        loop["admin"] = loop
        for wrong in ({"admin": b""}, loop):
            error = self.assertRaises(ConfigError, Proxy, bootstrap=wrong)
            self.assertIn("bootstrap: not what JSON could say: ", str(error))

    def test_wrong_message(self) -> None:
        """Of a message the path to each field is told."""
        message = Bootstrap()
        message.static_resources.listeners.add(name="front")
        error = self.assertRaises(ConfigError, Proxy, bootstrap=message)
        self.assertIn("bootstrap: static_resources.listeners[0]", str(error))

    def test_none_or_both(self) -> None:
        """No configuration at all is refused, and so are two of which neither could go first."""
        self.assertIn("no configuration", str(self.assertRaises(ConfigError, Proxy)))
        self.assertRaises(TypeError, Proxy, "envoy.yaml", bootstrap={})

    def test_warnings(self) -> None:
        """What is legal and surely not meant can be looked at."""
        made = plain()
        made["static_resources"]["clusters"] = [{"name": "unused"}]
        proxy = Proxy(bootstrap=made)
        self.assertIn("clusters[0]", str(proxy.warnings[0]))
