"""The files in configs/: what a newcomer runs first must not be broken."""

from __future__ import annotations

import contextlib
import hashlib
import os
import runpy
import ssl
import subprocess
import sys
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import yaml

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tcpmesh.testing import mesh
from tcpmesh.wire.proxy_protocol import LOCAL_V2, block_of, header_v2

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
COMPOSE = CONFIGS / "docker-compose.yaml"

#: The script that the image runs, as a module.
entrypoint = SimpleNamespace(**runpy.run_path(str(CONFIGS / "entrypoint.py")))
ADMIN = entrypoint.ADMIN_ADDRESS

#: Of the tutorial's own file.
TUTORIAL_SHA256 = "3470a426495d593df949e4d0c6955980065bc4ca0d47fcd8841427686bcfcd86"

#: The tutorial's compose file: host names and addresses.
TUTORIAL_ADDRESSES = {
    "envoy": "172.21.1.254",
    "webserver01": "172.21.1.2",
    "webserver02": "172.21.1.3",
}


def bootstraps() -> list[Path]:
    """Every YAML file here that is an Envoy bootstrap: all but the compose file."""
    return sorted(path for path in CONFIGS.glob("*.y*ml") if path != COMPOSE)


def compose() -> Any:
    """The compose file as plain values."""
    return yaml.safe_load(COMPOSE.read_text())


CERTIFICATES = SimpleNamespace(**runpy.run_path(str(CONFIGS / "certificates.py")))


def make_certificates(test: SynchronousTestCase) -> None:
    """Do what mutual-tls.yaml asks for, in a folder that is the current one until the test ends."""
    folder = Path(test.mktemp())
    folder.mkdir()
    test.addCleanup(os.chdir, Path.cwd())
    os.chdir(folder)
    with contextlib.redirect_stdout(StringIO()):
        CERTIFICATES.main(Path("certificates"))


class BootstrapTests(SynchronousTestCase):
    """The bootstraps."""

    def test_every_bootstrap_loads(self) -> None:
        """Each is accepted, without so much as a warning, and has a listener and a cluster."""
        make_certificates(self)
        loaded = {path.name: load(str(path)) for path in bootstraps()}

        self.assertLessEqual({"demo.yaml", "envoy.yaml"}, set(loaded))
        for name, result in loaded.items():
            self.assertEqual((), result.warnings, name)
            self.assertTrue(result.bootstrap.static_resources.listeners, name)
            self.assertTrue(result.bootstrap.static_resources.clusters, name)

    def test_the_tutorials_file_is_unchanged(self) -> None:
        """envoy.yaml is the tutorial's, byte for byte."""
        self.assertEqual(
            TUTORIAL_SHA256, hashlib.sha256((CONFIGS / "envoy.yaml").read_bytes()).hexdigest()
        )


class ProxyProtocolTests(SynchronousTestCase):
    """proxy-protocol.yaml, on a network in memory."""

    def test_headers_pass(self) -> None:
        """A client is told of under the address that its header has given, with the extension that
        passes and the one that is added; a health check is LOCAL.
        """
        made = mesh.Mesh((CONFIGS / "proxy-protocol.yaml").read_text(), start=False)
        backend = made.upstream("127.0.0.1:8080")
        made.pump()
        self.assertTrue(backend.built[0].received.startswith(LOCAL_V2 + b"GET / HTTP/1.1\r\n"))
        backend.built[0].transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        made.pump()
        made.listeners.start()
        client = made.connect("127.0.0.1:10000")
        network, other = (0xEA, b"net"), (2, b"a.test")
        header, _ = header_v2(("192.0.2.1", 11), ("192.0.2.2", 22), block_of((network, other)))
        client.transport.write(header + b"hello")
        made.pump()
        told, _ = header_v2(
            ("192.0.2.1", 11),
            ("192.0.2.2", 22),
            block_of(((0xF0, b"via front, to 127.0.0.1:8080"), network)),
        )
        self.assertEqual(told + b"hello", backend.built[1].received)


class MutualTlsTests(SynchronousTestCase):
    """mutual-tls.yaml, on a network in memory."""

    def setUp(self) -> None:
        """The proxy that it describes, and the application behind it."""
        make_certificates(self)
        self.mesh = mesh.Mesh((CONFIGS / "mutual-tls.yaml").read_text())
        self.application = self.mesh.upstream("127.0.0.1:8080")

    def test_both_know_each_other(self) -> None:
        """A client's bytes reach the application, and those of the application the client, after
        two handshakes in which each side has shown a certificate.
        """
        client = self.mesh.connect("127.0.0.1:10000")
        client.transport.write(b"question")
        self.mesh.pump()
        (served,) = self.application.built
        served.transport.write(b"answer")
        self.mesh.pump()
        self.assertEqual((b"question", b"answer"), (served.received, client.received))
        for name in ("listener.127.0.0.1_10443.ssl", "cluster.billing.ssl"):
            self.assertEqual(1, self.mesh.stat(f"{name}.handshake"), name)
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_10443.ssl.no_certificate"))

    def test_no_certificate(self) -> None:
        """Who shows no certificate is closed, and nothing of him reaches the application."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        stranger = context.wrap_bio(incoming, outgoing)
        client = self.mesh.connect("127.0.0.1:10443")
        for _ in range(3):
            with contextlib.suppress(ssl.SSLError):
                stranger.do_handshake()
                stranger.write(b"question")
            client.transport.write(outgoing.read())
            self.mesh.pump()
            incoming.write(bytes(client.received))
            client.received.clear()
        self.assertTrue(client.ended)
        self.assertEqual(1, self.mesh.stat("listener.127.0.0.1_10443.ssl.fail_verify_no_cert"))
        self.assertEqual(b"", b"".join(bytes(each.received) for each in self.application.built))


class ComposeTests(SynchronousTestCase):
    """The compose file."""

    def test_services_and_addresses(self) -> None:
        """It has the tutorial's three services at the tutorial's addresses, in the tutorial's
        network.
        """
        services = compose()["services"]

        addresses = {
            name: service["networks"]["envoymesh"]["ipv4_address"]
            for name, service in services.items()
        }
        self.assertEqual(TUTORIAL_ADDRESSES, addresses)
        self.assertEqual(
            [{"subnet": "172.21.1.0/24"}], compose()["networks"]["envoymesh"]["ipam"]["config"]
        )

    def test_its_files_exist(self) -> None:
        """The Dockerfile that it builds from and the configuration that it mounts are there."""
        envoy = compose()["services"]["envoy"]

        self.assertTrue(
            (CONFIGS / envoy["build"]["context"] / envoy["build"]["dockerfile"]).is_file()
        )
        self.assertEqual(["./envoy.yaml:/etc/envoy/envoy.yaml:ro"], envoy["volumes"])

    def test_web_servers_have_a_name_and_a_port(self) -> None:
        """Each web server runs the demo backend under its own host name, on the port that
        envoy.yaml sends to.
        """
        for name in ("webserver01", "webserver02"):
            service = compose()["services"][name]
            self.assertEqual(
                (name, ["PORT=8080"], "tcpmesh-demoapp"),
                (service["hostname"], service["environment"], service["command"]),
            )

    def test_one_image(self) -> None:
        """One service builds the image, all three run it, and none is pulled from elsewhere."""
        services = compose()["services"]

        self.assertEqual({"tcpmesh"}, {service["image"] for service in services.values()})
        self.assertEqual(["envoy"], [name for name in services if "build" in services[name]])
        for name in ("webserver01", "webserver02"):
            self.assertEqual("never", services[name]["pull_policy"])
        self.assertEqual("tcpmesh-tutorial", compose()["name"])

    def test_port_80(self) -> None:
        """The proxy, which is not root, may listen on port 80 under Podman too."""
        self.assertEqual(
            {"net.ipv4.ip_unprivileged_port_start": 0}, compose()["services"]["envoy"]["sysctls"]
        )


class ImageTests(SynchronousTestCase):
    """What the image is built from, and what it runs."""

    def setUp(self) -> None:
        """The Dockerfile's lines, continued ones joined."""
        text = (CONFIGS / "Dockerfile").read_text().replace("\\\n", " ")
        self.lines = [line for line in text.splitlines() if line and not line.startswith("#")]

    def test_its_files_exist(self) -> None:
        """Everything that is copied from the repository is there, and not kept outside by
        .dockerignore.
        """
        allowed = [
            line[1:]
            for line in (CONFIGS.parent / ".dockerignore").read_text().splitlines()
            if line.startswith("!")
        ]
        for line in self.lines:
            if line.startswith("COPY ") and "--from" not in line:
                *sources, _ = line.split()[1:]
                for source in sources:
                    self.assertTrue((CONFIGS.parent / source).exists(), source)
                    self.assertTrue(any(fnmatch(source, each) for each in allowed), source)

    def test_dependencies_first(self) -> None:
        """What tcpmesh stands on is installed before anything of it is copied but setup.cfg, so
        that a changed README installs nothing again.
        """
        install = next(i for i, line in enumerate(self.lines) if "pip install" in line)
        copied = [line.split()[1:-1] for line in self.lines[:install] if line.startswith("COPY")]

        self.assertEqual([["setup.cfg"], ["configs/dependencies.py"]], copied)
        printed = subprocess.run(
            [sys.executable, CONFIGS / "dependencies.py", CONFIGS.parent / "setup.cfg"],
            capture_output=True,
            text=True,
        ).stdout
        self.assertIn("Twisted>=", printed)
        self.assertTrue(all(line[0].isalpha() for line in printed.splitlines()), printed)

    def test_pinned(self) -> None:
        """The base is a release, not what a tag means today."""
        self.assertRegex(self.lines[0], r"^ARG BASE=python:3\.\d+\.\d+-slim-[a-z]+$")

    def test_commands(self) -> None:
        """A container takes what a container of Envoy's image takes, the commands of `tcpmesh`, the
        demo backend, and other programs; the health check finds what serves.
        """
        health = ["--admin-address-path", ADMIN]
        for arguments, expected in (
            ([], ["tcpmesh", "--config-path", "/etc/envoy/envoy.yaml", *health]),
            (["envoy"], ["tcpmesh", "--config-path", "/etc/envoy/envoy.yaml", *health]),
            (["-c", "/f"], ["tcpmesh", "-c", "/f", *health]),
            (["envoy", "-c", "/f"], ["tcpmesh", "-c", "/f", *health]),
            (["tcpmesh", "--config", "/f"], ["tcpmesh", "--config", "/f", *health]),
            (["tcpmesh", "run", "/f"], ["tcpmesh", "run", "/f", *health]),
            (["run", "/f"], ["tcpmesh", "run", "/f", *health]),
            (["validate", "/f"], ["tcpmesh", "validate", "/f"]),
            (["tcpmesh", "explain", "/f"], ["tcpmesh", "explain", "/f"]),
            (
                ["-c", "/f", "--admin-address-path=/a"],
                ["tcpmesh", "-c", "/f", "--admin-address-path=/a"],
            ),
            (
                ["tcpmesh-demoapp", "-p", "1"],
                [*entrypoint.FOREGROUND, "tcpmesh-demoapp", "-p", "1"],
            ),
            (["sh", "-c", "true"], ["sh", "-c", "true"]),
        ):
            self.assertEqual(expected, entrypoint.command(arguments), arguments)

    def test_other_programs(self) -> None:
        """Another program takes the place of the process."""
        script = [sys.executable, str(CONFIGS / "entrypoint.py")]
        ran = subprocess.run([*script, "sh", "-c", "exit 7"], check=False)
        self.assertEqual(7, ran.returncode)
        told = subprocess.run([*script, "version"], check=False, capture_output=True, text=True)
        self.assertTrue(told.stdout.startswith("tcpmesh "), told.stdout)

    def test_stopped_at_once(self) -> None:
        """A stop that comes while Python is still importing ends the process, with status 0."""
        code = (
            "import os, runpy, signal, sys; sys.argv[1:] = ['tcpmesh-demoapp'];"
            "sys.modules['twisted.scripts.twistd'] = type(sys)('late');"
            "sys.modules['twisted.scripts.twistd'].run = lambda: os.kill(os.getpid(), 15);"
            f"runpy.run_path({str(CONFIGS / 'entrypoint.py')!r}, run_name='__main__'); os._exit(9)"
        )
        self.assertEqual(0, subprocess.run([sys.executable, "-c", code]).returncode)

    def test_health(self) -> None:
        """The health check asks the admin interface where there is one, also one on all addresses,
        and believes what it says.
        """
        check = [sys.executable, str(CONFIGS / "healthcheck.py")]
        path = self.mktemp()
        self.assertEqual(0, subprocess.run([*check, path], capture_output=True).returncode)
        for status, wanted in ((200, 0), (503, 1)):
            server = HTTPServer(("127.0.0.1", 0), answering(status))
            thread = Thread(target=server.handle_request)
            thread.start()
            Path(path).write_text(f"0.0.0.0:{server.server_port}\n")
            ended = subprocess.run([*check, path], capture_output=True)
            thread.join()
            server.server_close()
            self.assertEqual(wanted, ended.returncode, ended.stdout)


def answering(status: int) -> type[BaseHTTPRequestHandler]:
    """A server that answers every request with a status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


class TunnellingTests(SynchronousTestCase):
    """tunnelling.yaml, on a network in memory."""

    def test_asked(self) -> None:
        """A client's tunnel is asked for with what the page says, and carries its bytes."""
        made = mesh.Mesh((CONFIGS / "tunnelling.yaml").read_text())
        proxy = made.upstream("127.0.0.1:8888")
        client = made.connect("127.0.0.1:10000")
        (asked,) = proxy.built
        self.assertTrue(asked.received.startswith(b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n"))
        self.assertIn(b"\r\nx-client: 127.0.0.1\r\n", asked.received)
        asked.transport.write(b"HTTP/1.1 200 OK\r\n\r\nSSH-2.0")
        made.pump()
        self.assertEqual(b"SSH-2.0", client.received)
