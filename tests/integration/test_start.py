"""What a plain start does without."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import Child, free_port

DEMO = Path(__file__).resolve().parents[2] / "configs" / "demo.yaml"

OTHERS = {
    "TLS": (
        "tcpmesh.connection.tls",
        "tcpmesh.net.tls.context",
        "tcpmesh.net.tls.openssl.engine",
        "tcpmesh.net.tls.verifier",
    ),
    "health checks by HTTP and gRPC": (
        "tcpmesh.cluster.health.grpc_probe",
        "tcpmesh.cluster.health.http_check",
        "tcpmesh.cluster.health.http2_probe",
    ),
    "names of DNS": ("dns", "tcpmesh.net.dns.client", "tcpmesh.wire.dns"),
    "access logs": (
        "tcpmesh.accesslog.collectors",
        "tcpmesh.accesslog.file_logger",
        "tcpmesh.extensions.access_loggers",
    ),
    "gRPC": ("grpc", "tcpmesh.rpc"),
    "regular expressions": ("re2",),
    "expressions of CEL": ("cel_expr_python",),
    "statistics that somebody else is sent": ("tcpmesh.extensions.stat_sinks",),
    "--mode explain, and other commands": (
        "tcpmesh.cli",
        "tcpmesh.config.explain",
        "tcpmesh.config.migrate",
        "tcpmesh.terminal",
    ),
    "web applications": ("twisted.web.resource", "twisted.web.server"),
    "what Twisted has besides": ("twisted.conch", "twisted.names", "twisted.trial.unittest"),
    "tests": ("hypothesis", "pytest", "tcpmesh.testing"),
    "the demo's backends": ("tcpmesh.demoapp",),
}
"""Who imports what is here, for all, has every start pay for what few want: half a millisecond for
a small module, dozens for a large one.  It belongs into the function that wants it.
"""

_IMPORTED = re.compile(r"^import time:.*\| +(\S+)$", re.MULTILINE)


class PlainStartTests(SynchronousTestCase):
    """The demo's file: static clusters, no TLS, an admin interface."""

    def test_names(self) -> None:
        """There are such modules."""
        names = [name for modules in OTHERS.values() for name in modules if "." in name]

        self.assertEqual([], [name for name in names if find_spec(name) is None])

    def test_imports(self) -> None:
        """It imports nothing of what it does not use."""
        config = DEMO.read_text().replace("port_value: 9901 ", "port_value: 0 ")
        config = config.replace("port_value: 10000 ", f"port_value: {free_port()} ")
        with Child(config, environ={"PYTHONPROFILEIMPORTTIME": "1"}) as proxy:
            proxy.wait_ready()
        imported = frozenset(_IMPORTED.findall(proxy.output))
        used = "tcpmesh.extensions.filters.network.tcp_proxy.moving"
        self.assertTrue(used in imported, f"{used} is none of {len(imported)} modules")
        for purpose, modules in OTHERS.items():
            found = {
                each for each in imported for name in modules if f"{each}.".startswith(f"{name}.")
            }
            self.assertEqual(set(), found, f"a plain start imports what is for {purpose}")
