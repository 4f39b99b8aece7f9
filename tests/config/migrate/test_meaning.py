"""Random messages of the v2 schema, written as text, mean the same once they are migrated."""

from __future__ import annotations

import json
from typing import Any

import yaml
from envoy.api.v2.auth.tls_pb2 import UpstreamTlsContext as OldTls
from envoy.api.v2.cluster_pb2 import Cluster as OldCluster
from envoy.api.v2.core.address_pb2 import Address as OldAddress
from envoy.config.bootstrap.v2.bootstrap_pb2 import Bootstrap as OldBootstrap
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from google.protobuf import json_format
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.messages.reading import Reading
from tcpmesh.config.migrate import migrate
from tcpmesh.config.text.json_text import parse_json
from tcpmesh.config.text.yaml_text import parse_yaml
from tests.config.random_messages import messages
from tests.config.test_fuzz import quoted

PROPERTIES = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

#: Ways to write a message: YAML in block or flow style, JSON in one line or several.
LAYOUTS = st.sampled_from(("block", "flow", "compact", "lined"))

#: What of a v2 cluster has the same number and type in v3, and no rule of its own.
SAME = ("name", "lb_policy", "circuit_breakers", "outlier_detection", "ring_hash_lb_config")


def written(message: Any, layout: str, snake_case: bool) -> tuple[str, str]:
    """A message as text, and a name for the file."""
    plain = json_format.MessageToDict(message, preserving_proto_field_name=snake_case)
    if layout in ("block", "flow"):
        text = yaml.safe_dump(quoted(plain), default_flow_style=layout == "flow")
        return text, "a.yaml"
    return json.dumps(plain, indent=4 if layout == "lined" else None), "a.json"


def read(text: str, name: str, message: Any) -> tuple[Any, list[str]]:
    """The v3 message of a text, and what could not be read."""
    reading = Reading((parse_json if name.endswith("json") else parse_yaml)(text, name))
    reading.into(message)
    return message, [problem.text for problem in reading.problems]


@st.composite
def clusters(draw: Any) -> Any:
    """A v2 cluster with hosts and perhaps TLS."""
    whole = draw(messages(OldCluster.DESCRIPTOR, 4))
    cluster = OldCluster()
    for field, value in whole.ListFields():
        if field.name in SAME:
            getattr(cluster, field.name).MergeFrom(value) if field.message_type else setattr(
                cluster, field.name, value
            )
    cluster.name = "a"
    for _ in range(draw(st.integers(1, 3))):
        cluster.hosts.add().CopyFrom(draw(messages(OldAddress.DESCRIPTOR, 2)))
    if draw(st.booleans()):
        cluster.tls_context.CopyFrom(OldTls(sni=draw(st.text("ab.", max_size=4))))
    return cluster


def expected(old: Any) -> Any:
    """The v3 cluster that a v2 cluster is: most is the same on the wire."""
    rest = OldCluster()
    rest.CopyFrom(old)
    for name in ("hosts", "tls_context"):
        rest.ClearField(name)
    new = Cluster.FromString(rest.SerializeToString())
    new.load_assignment.cluster_name = old.name
    locality = new.load_assignment.endpoints.add()
    for host in old.hosts:
        address = locality.lb_endpoints.add().endpoint.address
        address.SetInParent()
        address.MergeFromString(host.SerializeToString())
    if old.HasField("tls_context"):
        new.transport_socket.name = "envoy.transport_sockets.tls"
        tls = UpstreamTlsContext.FromString(old.tls_context.SerializeToString())
        new.transport_socket.typed_config.Pack(tls)
    return new


class MeaningTests(SynchronousTestCase):
    """Text to text, and what it says."""

    @PROPERTIES
    @given(clusters(), LAYOUTS, st.booleans())
    def test_cluster(self, cluster: Any, layout: str, snake_case: bool) -> None:
        """A cluster says after its migration what it said before, however it is laid out."""
        assume(cluster.lb_policy != OldCluster.ORIGINAL_DST_LB)
        old = OldBootstrap()
        old.static_resources.clusters.add().CopyFrom(cluster)
        text, name = written(old, layout, snake_case)
        done = migrate(text, name)
        bootstrap, problems = read(done.text, name, Bootstrap())

        self.assertEqual(((), []), (done.problems, problems), done.text)
        self.assertEqual(expected(cluster), bootstrap.static_resources.clusters[0], done.text)

    @PROPERTIES
    @given(messages(OldBootstrap.DESCRIPTOR, 7), LAYOUTS, st.booleans())
    def test_bootstrap(self, message: Any, layout: str, snake_case: bool) -> None:
        """Of any v2 bootstrap everything is migrated or told; a second time changes nothing."""
        text, name = written(message, layout, snake_case)
        done = migrate(text, name)
        again = migrate(done.text, name)

        self.assertEqual((done.text, ()), (again.text, again.changes))
        if not done.problems and done.changes:
            problems = read(done.text, name, Bootstrap())[1]
            self.assertEqual([], [text for text in problems if "unknown" in text], done.text)
