"""TLS with what others have made of it: openssl(1) and curl(1) before the proxy, openssl(1) behind
it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.certificates import Authority
from tcpmesh.testing.child import Child, Process, connectable, free_port, wait_for
from tests.attacks.attack import TYPES, address
from tests.attacks.tls import pair, tls_socket

REQUEST = "GET / HTTP/1.0\r\n\r\n"


class ToolTests(SynchronousTestCase):
    """A listener with TLS and one that demands certificates, before `openssl s_server`, which
    demands one of the proxy.
    """

    def setUp(self) -> None:
        """Certificates, the host and the proxy."""
        if shutil.which("openssl") is None:
            self.skipTest("needs openssl (package openssl)")
        authority = Authority()
        self.files: dict[str, str] = {"ca": self.file(authority.pem)}
        issued = {name: authority.issue(name) for name in ("server.test", "client", "host.test")}
        for name, (chain, key) in issued.items():
            self.files[name], self.files[f"{name} key"] = self.file(chain), self.file(key)
        self.port, self.strict, host = free_port(), free_port(), free_port()
        trusted = {"trusted_ca": {"filename": self.files["ca"]}}
        mutual = {
            "tls_certificates": [pair(*issued["client"])],
            "validation_context": {
                **trusted,
                "match_typed_subject_alt_names": [
                    {"san_type": "DNS", "matcher": {"exact": "host.test"}}
                ],
            },
            "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
        }
        own = {"tls_certificates": [pair(*issued["server.test"])], "alpn_protocols": ["a", "b"]}
        strict = {**own, "validation_context": trusted}
        cluster = {
            "name": "host",
            "load_assignment": {
                "cluster_name": "host",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(host)}}]}],
            },
            "transport_socket": tls_socket("Upstream", common_tls_context=mutual, sni="host.test"),
        }
        listeners = [
            listener("plain", self.port, common_tls_context=own),
            listener(
                "strict", self.strict, common_tls_context=strict, require_client_certificate=True
            ),
        ]
        bootstrap = {
            "admin": {"address": address(0)},
            "static_resources": {"listeners": listeners, "clusters": [cluster]},
        }
        self.start(
            Process(
                [
                    *f"openssl s_server -accept 127.0.0.1:{host} -www -Verify 1".split(),
                    *("-cert", self.files["host.test"], "-key", self.files["host.test key"]),
                    *("-CAfile", self.files["ca"], "-verify_return_error"),
                ],
                Path(self.mktemp()).absolute(),
            )
        )
        wait_for(lambda: connectable("127.0.0.1", host), "openssl to listen")
        self.child = self.start(Child(json.dumps(bootstrap)))
        self.child.wait_ready()

    def start(self, process: Any) -> Any:
        """Start something that ends with the test."""
        running = process.__enter__()
        self.addCleanup(process.__exit__, None, None, None)
        return running

    def file(self, data: bytes) -> str:
        """A file with this."""
        path = Path(self.mktemp()).absolute()
        path.write_bytes(data)
        return str(path)

    def client(self, *options: str, port: int = 0, text: str = REQUEST) -> str:
        """What `openssl s_client` prints."""
        found = subprocess.run(
            [
                *f"openssl s_client -connect 127.0.0.1:{port or self.port}".split(),
                *("-CAfile", self.files["ca"], "-servername", "server.test", *options),
                *(["-ign_eof"] if text == REQUEST else []),
            ],
            input=text,
            text=True,
            capture_output=True,
            timeout=20,
        )
        return found.stdout + found.stderr

    def test_tools(self) -> None:
        """`openssl s_client` and curl are served in both versions and with client certificates,
        resume sessions, and are refused without a certificate where one is demanded.
        """
        for version in ("1_2", "1_3"):
            said = self.client(f"-tls{version}", "-alpn", "b", "-verify_return_error")
            self.assertIn("HTTP/1.0 200 ok", said)
            self.assertIn("ALPN protocol: b", said)
            self.assertIn("Verify return code: 0 (ok)", said)
            kept = self.mktemp()
            self.client(f"-tls{version}", "-sess_out", kept)
            said = self.client(f"-tls{version}", "-sess_in", kept)
            self.assertIn("Reused, TLS", said)
            self.assertIn("HTTP/1.0 200 ok", said)
            certificate = ("-cert", self.files["client"], "-key", self.files["client key"])
            said = self.client(f"-tls{version}", *certificate, port=self.strict)
            self.assertIn("HTTP/1.0 200 ok", said)
            said = self.client(f"-tls{version}", port=self.strict)
            self.assertNotIn("HTTP/1.0 200 ok", said)
            self.assertIn("alert", said)
        said = self.client("-tls1_2", "-no_ticket", "-reconnect", text="Q\n")
        self.assertEqual(5, said.count("Reused, TLSv1.2") + said.count("Reused, TLSv1/SSLv3"))
        prefix = f"listener.127.0.0.1_{self.strict}.ssl"
        self.assertEqual(2, self.child.stat(f"{prefix}.fail_verify_no_cert"))
        self.check_curl()
        self.assertNotIn("Traceback", self.child.output)

    def check_curl(self) -> None:
        """The same with curl, where there is one."""
        if shutil.which("curl") is None:
            print("without curl (package curl)")
            return
        found = subprocess.run(
            [
                *("curl", "-sS", "--cacert", self.files["ca"], "--resolve"),
                *(f"server.test:{self.port}:127.0.0.1", f"https://server.test:{self.port}/"),
            ],
            text=True,
            capture_output=True,
            timeout=20,
        )
        self.assertIn("s_server", found.stdout, found.stderr)


def listener(name: str, port: int, **fields: Any) -> dict[str, Any]:
    """One with TLS, to the host."""
    proxy = {
        "name": "tcp_proxy",
        "typed_config": {
            "@type": f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": name,
            "cluster": "host",
        },
    }
    chain = {"filters": [proxy], "transport_socket": tls_socket("Downstream", **fields)}
    return {"name": name, "address": address(port), "filter_chains": [chain]}
