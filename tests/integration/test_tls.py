"""TLS with what others have made of it: openssl(1), curl(1) and Go before the proxy, openssl(1)
behind it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

from cryptography import x509

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
        self.staples = {days: free_port() for days in (5, -1)}
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
        server = issued["server.test"]
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
            *(
                listener(
                    f"stapled {days}",
                    port,
                    common_tls_context={"tls_certificates": [stapled(authority, *server, days)]},
                    ocsp_staple_policy="STRICT_STAPLING",
                )
                for days, port in self.staples.items()
            ),
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
        """`openssl s_client`, curl and Go are served in both versions and with client certificates,
        resume sessions, get OCSP responses if they ask and there are good ones, and are refused
        without a certificate where one is demanded.
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
        said = self.client("-status", port=self.staples[5])
        self.assertIn("OCSP Response Status: successful", said)
        self.assertIn("HTTP/1.0 200 ok", said)
        self.assertIn("OCSP response: no response sent", self.client("-status"))
        self.assertNotIn("HTTP/1.0 200 ok", self.client("-status", port=self.staples[-1]))
        self.assertIn("HTTP/1.0 200 ok", self.client(port=self.staples[-1]))
        self.check_curl()
        self.check_go()
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

    def check_go(self) -> None:
        """The same with a client in Go, where there is one; it half-closes, too."""
        if shutil.which("go") is None:
            print("without Go (package golang)")
            return
        client = Path(self.mktemp()).absolute()
        source = Path(__file__).with_name("tls_client.go")
        subprocess.run(["go", "build", "-o", client, source], check=True, timeout=240)
        certificate = self.files["client"], self.files["client key"]
        for port, more in ((self.port, ()), (self.strict, certificate), (self.strict, ())):
            command = [client, f"127.0.0.1:{port}", self.files["ca"], *more]
            said = subprocess.run(command, text=True, capture_output=True, timeout=60).stdout
            if port == self.strict and not more:
                self.assertEqual(4, said.count("remote error: tls: "), said)
                continue
            expected = [
                f"{version} {resumed} b HTTP/1.0 200 ok"
                for version in ("1.2", "1.3")
                for resumed in ("false", "true")
            ]
            self.assertEqual(expected, sorted(said.splitlines()))


def stapled(authority: Authority, chain: bytes, key: bytes, days: int) -> dict[str, Any]:
    """A certificate with an OCSP response that ends in so many days."""
    staple = authority.ocsp_response(x509.load_pem_x509_certificate(chain), days)
    return {**pair(chain, key), "ocsp_staple": {"inline_bytes": b64encode(staple).decode()}}


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
