"""Asks the real Envoy what it makes of each case in `cases.py`: `make record-tls`.

One Envoy has a listener for each case that judges clients, and a cluster for each that judges
servers.  The peer is the `ssl` module; recorded are what the access log says, which counter of
`ssl.*` rose, and the alert that the peer got.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks import tools
from tcpmesh.testing.child import free_port
from tests.net.tls.cases import Case, cases, inline
from tests.net.tls.pki import Issued, authority

RECORDED = Path(__file__).with_name("recorded.json")
TYPE = "type.googleapis.com/"
TLS = TYPE + "envoy.extensions.transport_sockets.tls.v3."
REASON = {
    "server": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
    "client": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}
GREETING = b"hello"
OWN = authority("own").issue("own", names=["dns:own.test"])


class Asked:
    """A case on one side; `port` is where Envoy listens, once it does."""

    def __init__(self, case: Case, side: str, folder: Path, number: int) -> None:
        self.case, self.side = case, side
        self.name = f"n{number}"
        self.port = 0
        self.peer = peer(case.chain, side, folder / self.name)
        self.backend = Backend(self.peer if side == "client" else None)
        self.log = folder / f"{self.name}.log"

    def configured(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """A listener and a cluster."""
        typed = {
            "@type": TYPE + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": self.name,
            "cluster": self.name,
            "access_log": [access_log(self.log, REASON[self.side])],
        }
        chain: dict[str, Any] = {"filters": [{"name": "t", "typed_config": typed}]}
        cluster: dict[str, Any] = {
            "name": self.name,
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": self.name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at(self.backend.port)}}]}],
            },
        }
        if self.side == "server":
            chain["transport_socket"] = socket_of(
                "Downstream", self._common(), require_client_certificate=self.case.requires
            )
        else:
            sni: dict[str, Any] = {}
            if self.case.expected_name:
                sni = {"sni": self.case.expected_name, "auto_sni_san_validation": True}
            cluster["transport_socket"] = socket_of("Upstream", self._common(), **sni)
        listener = {
            "name": self.name,
            "stat_prefix": self.name,
            "address": at(self.port),
            "filter_chains": [chain],
        }
        return listener, cluster

    def _common(self) -> dict[str, Any]:
        common: dict[str, Any] = {}
        if self.side == "server":
            common["tls_certificates"] = [
                {"certificate_chain": inline(OWN.pem), "private_key": inline(OWN.key_pem())}
            ]
        if self.case.context is not None:
            common["validation_context"] = dict(self.case.context)
        if self.case.spiffe:
            common["validation_context"]["custom_validator_config"] = {
                "name": "envoy.tls.cert_validator.spiffe",
                "typed_config": {
                    "@type": TLS + "SPIFFECertValidatorConfig",
                    "trust_domains": [
                        {"name": name, "trust_bundle": bundle}
                        for name, bundle in self.case.spiffe.items()
                    ],
                },
            }
        if self.side == "client":
            common["tls_params"] = {"tls_maximum_protocol_version": "TLSv1_3"}
        return common

    def connect(self) -> str:
        """What the peer saw: `ok`, or the alert."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as raw:
            raw.settimeout(5)
            if self.side == "client":
                return "ok" if read(raw) == GREETING else self.backend.error()
            try:
                with self.peer.wrap_socket(raw, server_hostname="own.test") as s:
                    return "ok" if s.recv(9) == GREETING else "closed"
            except (ssl.SSLError, OSError) as error:
                return alert(error)


def read(raw: socket.socket) -> bytes:
    """The first bytes; none where it was closed."""
    try:
        return raw.recv(9)
    except OSError:
        return b""


def alert(error: Exception) -> str:
    """The alert's name."""
    found = re.search(r"(?:ALERT|TLSV1)_(?:ALERT_)?(\w+)", str(getattr(error, "reason", "")))
    return found.group(1).lower() if found else str(error)


class Backend:
    """Greets."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._errors: list[str] = []
        self._done = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def error(self) -> str:
        """The alert of the last connection."""
        self._done.wait(5)
        return self._errors[-1] if self._errors else "closed"

    def _serve(self) -> None:
        while True:
            client, _ = self._socket.accept()
            client.settimeout(5)
            try:
                if self._context is not None:
                    client = self._context.wrap_socket(client, server_side=True)
                client.sendall(GREETING)
                client.recv(9)
            except (ssl.SSLError, OSError) as error:
                self._errors.append(alert(error))
                self._done.set()
            finally:
                client.close()


def peer(chain: Any, side: str, path: Path) -> ssl.SSLContext:
    """A context that shows a chain."""
    kind = ssl.PROTOCOL_TLS_CLIENT if side == "server" else ssl.PROTOCOL_TLS_SERVER
    context = ssl.SSLContext(kind)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    if chain:
        leaf: Issued = chain[0]
        path.write_text("".join(each.pem for each in chain) + leaf.key_pem())
        context.load_cert_chain(path)
    return context


def at(port: int) -> dict[str, Any]:
    """An address."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def socket_of(kind: str, common: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A TLS transport socket."""
    typed = {"@type": f"{TLS}{kind}TlsContext", "common_tls_context": common, **fields}
    return {"name": "tls", "typed_config": typed}


def access_log(path: Path, text: str) -> dict[str, Any]:
    """A file with one line for each connection."""
    typed = {
        "@type": TYPE + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(path),
        "log_format": {"text_format_source": {"inline_string": text + "\n"}},
    }
    return {"name": "f", "typed_config": typed}


def ask_all(envoy: str, folder: Path) -> list[dict[str, Any]]:
    """Run every case."""
    pairs = [(case, side) for case in cases() for side in case.sides]
    asked = [Asked(case, side, folder, i) for i, (case, side) in enumerate(pairs)]
    both = [each.configured() for each in asked]
    admin = free_port()
    bootstrap = {
        "admin": {"address": at(admin)},
        "static_resources": {"listeners": [b[0] for b in both], "clusters": [b[1] for b in both]},
    }
    (folder / "envoy.json").write_text(json.dumps(bootstrap))
    command = [envoy, "-c", str(folder / "envoy.json"), "-l", "error", "--concurrency", "1"]
    command += ["--use-dynamic-base-id", "--file-flush-interval-msec", "50"]
    command += ["--log-path", str(folder / "log")]
    with subprocess.Popen(command) as process:
        try:
            wait_ready(admin, folder)
            ports = dict(re.findall(r"^(n\d+)::.*:(\d+)$", ask(admin, "/listeners"), re.M))
            for each in asked:
                each.port = int(ports[each.name])
            seen = [each.connect() for each in asked]
            time.sleep(1)
            stats = ask(admin, "/stats?filter=ssl")
        finally:
            process.terminate()
    return [answer(each, what, stats) for each, what in zip(asked, seen, strict=True)]


def ask(port: int, path: str) -> str:
    """The answer of the admin interface."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as found:
        return str(found.read().decode())


def wait_ready(port: int, folder: Path) -> None:
    """Until it serves."""
    for _ in range(200):
        time.sleep(0.1)
        try:
            if "LIVE" in ask(port, "/ready"):
                return
        except OSError:
            pass
    raise RuntimeError((folder / "log").read_text()[-2000:])


def answer(asked: Asked, seen: str, stats: str) -> dict[str, Any]:
    """What is kept of a case."""
    scope = "listener" if asked.side == "server" else "cluster"
    prefix = rf"^{scope}\.{asked.name}\.ssl\."
    risen = re.findall(prefix + r"((?:fail|no_cert|was_|conn)\w+): [1-9]", stats, re.M)
    reason = asked.log.read_text().splitlines()[0]
    return {
        "case": asked.case.name,
        "side": asked.side,
        "peer_saw": seen,
        "counters": sorted(risen),
        "reason": "" if reason == "-" else reason,
    }


def main(envoy: str) -> None:
    """Write all answers into the file."""
    with tempfile.TemporaryDirectory() as folder:
        answers = ask_all(envoy, Path(folder))
    RECORDED.write_text("[\n" + ",\n".join(json.dumps(each) for each in answers) + "\n]\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tools.envoy())
