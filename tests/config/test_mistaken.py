"""Files that are no bootstrap are told what they are, in one sentence that helps."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tcpmesh.config.mistaken import placeholder_at
from tcpmesh.config.text.problems import ConfigError, Problem
from tests.config.texts import GOOD, problems_of

CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: front
data:
  envoy.yaml: |
    static_resources: {}
"""

ISTIO = "apiVersion: networking.istio.io/v1\nkind: EnvoyFilter\nspec: {}\n"
GATEWAY = "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nspec: {}\n"
DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"
COMPOSE = "services:\n  envoy:\n    image: envoyproxy/envoy:v1.40.0\n"
DUMP = (
    '{"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", '
    '"bootstrap": {}}]}'
)
VERSION_1 = (
    '{"listeners": [{"address": "tcp://0.0.0.0:80", "filters": []}],\n'
    ' "cluster_manager": {"clusters": []}}'
)
RESOURCES = "resources:\n- name: a\n"
HAPROXY = "global\n    maxconn 100\n\nfrontend web\n    bind *:80\n"
NGINX = "events {}\nstream {\n  server { listen 80; proxy_pass a; }\n}\n"


class MistakenTests(SynchronousTestCase):
    """One file at a time."""

    def problem(self, text: str, name: str = "a.yaml") -> Problem:
        """The one problem of a file with this text."""
        folder = Path(mkdtemp())
        self.addCleanup(FilePath(str(folder)).remove)
        path = folder / name
        path.write_text(text)
        error: ConfigError = self.assertRaises(ConfigError, load, str(path))
        self.assertEqual(1, len(error.problems), error.problems)
        return error.problems[0]

    def test_config_map(self) -> None:
        """A ConfigMap is told where in it the configuration is, and how to take it out."""
        problem = self.problem(CONFIG_MAP)

        self.assertIn("a ConfigMap of Kubernetes", problem.text)
        self.assertEqual(6, problem.place.line)
        self.assertIn(
            r"kubectl get configmap front -o jsonpath='{.data.envoy\.yaml}'", problem.hint
        )

    def test_other_resources(self) -> None:
        """Other resources of Kubernetes are told by their kind."""
        for text, told in (
            (ISTIO, "a resource of Istio (EnvoyFilter)"),
            (GATEWAY, "a resource of the Gateway API (TCPRoute)"),
            (DEPLOYMENT, "a Deployment of Kubernetes"),
        ):
            self.assertIn(told, self.problem(text).text)

    def test_others(self) -> None:
        """So is what belongs to other programs, and what Envoy itself prints or read once."""
        for text, name, told in (
            (COMPOSE, "a.yaml", "a Compose file"),
            (DUMP, "a.json", "the /config_dump of a running Envoy"),
            (VERSION_1, "a.json", "the v1 API"),
            (RESOURCES, "a.yaml", "resources for xDS"),
            (HAPROXY, "haproxy.cfg", "a configuration of HAProxy"),
            (NGINX, "nginx.conf", "a configuration of nginx"),
            (HAPROXY, "a.yaml", "a configuration of HAProxy"),
            (NGINX, "a.yaml", "a configuration of nginx"),
        ):
            self.assertIn(told, self.problem(text, name).text)

    def test_v2(self) -> None:
        """A type or a field of the v2 API is told that `tcpmesh migrate` rewrites the file."""
        v2 = "type.googleapis.com/envoy.config.filter.network.tcp_proxy.v2.TcpProxy"
        for old, new in (
            ('"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3', ""),
            ("load_assignment:", "hosts:"),
        ):
            text = GOOD.replace(old, new) if new else GOOD.replace("extensions.filters", "x")
            if not new:
                text = "\n".join(
                    f'          "@type": {v2}' if "@type" in line else line
                    for line in GOOD.splitlines()
                )
            hints = [problem.hint for problem in problems_of(text)]
            self.assertTrue(any("tcpmesh migrate" in hint for hint in hints), hints)


class PlaceholderTests(SynchronousTestCase):
    """Templates that nobody filled in."""

    def test_value(self) -> None:
        """A value that is wrong because a template left it open is told how to fill it in."""
        for value, tool in (
            ("${PORT}", "envsubst"),
            ("'{{ port }}'", "helm template"),
            ("{{ port }}", "helm template"),
            ("<%= port %>", "erb"),
            ("'%PORT%'", "sed"),
            ("@PORT@", "sed"),
            ("__PORT__", "sed"),
        ):
            text = GOOD.replace("port_value: 10000", f"port_value: {value}")
            problems = [problem for problem in problems_of(text) if problem.severity == "error"]
            self.assertIn(tool, problems[0].hint, value)
            self.assertEqual(7, problems[0].place.line)

    def test_block(self) -> None:
        """A line that is no YAML, as a template's conditions are, is told so too."""
        problems = problems_of(GOOD.replace("  clusters:", "{{- range .clusters }}\n  clusters:"))

        self.assertIn("a template leaves to be filled in", problems[0].hint)

    def test_operators(self) -> None:
        """The operators of a log's format are no place-holders."""
        for line in ("format: '%FOO%'", 'inline_string: "%A% %B%"', "# port: ${PORT}"):
            self.assertEqual("", placeholder_at(line, 1), line)

    def test_right_values(self) -> None:
        """A value that is right is nobody's business."""
        self.assertEqual((), problems_of(GOOD.replace("stat_prefix: tcp", "stat_prefix: '${A}'")))

    @settings(max_examples=100, deadline=None)
    @given(st.text(), st.integers(0, 3))
    def test_any_line(self, text: str, line: int) -> None:
        """No text makes it fail."""
        placeholder_at(text, line)
