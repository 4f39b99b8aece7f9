"""Files of discovery, read and judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse, Resource
from envoy.service.runtime.v3.rtds_pb2 import Runtime
from google.protobuf import text_format

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config import resources
from tcpmesh.config.load import document_of
from tcpmesh.config.resources import (
    ASSIGNMENT,
    CLUSTER,
    LISTENER,
    RUNTIME,
    SECRET,
    NotReadable,
    Resources,
    load_resources,
)
from tcpmesh.config.text.source import Document, taking_apart
from tests.mesh import cluster_message

TYPE = "type.googleapis.com/"


def cluster(name: str, **more: Any) -> dict[str, Any]:
    """A cluster as JSON has it."""
    return {"@type": TYPE + CLUSTER, "name": name, "connect_timeout": "1s", **more}


class ResourcesTestCase(SynchronousTestCase):
    """Base: one file after the other."""

    def load(
        self, content: object, kind: str = CLUSTER, name: str = "f.json", **how: Any
    ) -> Resources:
        """What a file of this content has."""
        self.path = Path(self.mktemp()).with_suffix(Path(name).suffix)
        if isinstance(content, bytes):
            self.path.write_bytes(content)
        else:
            self.path.write_text(content if isinstance(content, str) else json.dumps(content))
        return load_resources(str(self.path), kind, Bootstrap(), **how)

    def refused(self, content: object, kind: str = CLUSTER, name: str = "f.json") -> str:
        """Why a file is no DiscoveryResponse."""
        error = self.assertRaises(NotReadable, self.load, content, kind, name)
        return str(error).replace(str(self.path), "FILE")


class LettingGoTests(ResourcesTestCase):
    """What is read by a thread, while others serve."""

    def test_taken_apart(self) -> None:
        """The tree of a file is let go of little by little, be the file right or wrong."""
        documents: list[Document] = []

        def read(*arguments: Any) -> Document:
            documents.append(document_of(*arguments))
            return documents[-1]

        self.patch(resources, "document_of", read)
        self.load({"resources": [cluster("a")]})
        self.refused({"resources": [cluster("a"), {"name": "b"}]})
        self.assertEqual([[], []], [list(taking_apart(each.root)) for each in documents])


class FormsTests(ResourcesTestCase):
    """The forms that a file may have."""

    def test_json(self) -> None:
        """A version and resources, in JSON."""
        found = self.load({"version_info": "v7", "resources": [cluster("a"), cluster("b")]})
        self.assertEqual(
            ("v7", ["a", "b"]), (found.version, [each.name for each in found.messages])
        )
        self.assertEqual((), found.errors)

    def test_yaml(self) -> None:
        """In YAML one value stands for a list of one, and there need be no version."""
        text = f"resources:\n  '@type': {TYPE}{CLUSTER}\n  name: a\n  connect_timeout: 1s\n"
        found = self.load(text, name="f.yaml")
        self.assertEqual(("", ["a"]), (found.version, [each.name for each in found.messages]))

    def test_nothing(self) -> None:
        """There may be none."""
        self.assertEqual((), self.load({}).messages)

    def test_wrapped(self) -> None:
        """A resource may be wrapped in a `discovery.v3.Resource`."""
        wrapper = {"@type": TYPE + Resource.DESCRIPTOR.full_name, "name": "a"}
        found = self.load({"resources": [{**wrapper, "resource": cluster("a")}]})
        self.assertEqual("a", found.messages[0].name)

    def test_protobuf(self) -> None:
        """Binary and text format are read by their names, wrapped or not."""
        response = DiscoveryResponse(version_info="v7")
        response.resources.add().Pack(cluster_message("a", ["127.0.0.1:1"]))
        wrapper = Resource()
        wrapper.resource.Pack(cluster_message("b", ["127.0.0.1:1"]))
        response.resources.add().Pack(wrapper)
        for data, name in (
            (response.SerializeToString(), "f.pb"),
            (text_format.MessageToString(response), "f.pb_text"),
        ):
            found = self.load(data, name=name)
            self.assertEqual(["a", "b"], [each.name for each in found.messages], name)

    def test_assignments(self) -> None:
        """Assignments are judged as those of a cluster are."""
        group: dict[str, Any] = {
            "lb_endpoints": [{"endpoint": {"address": {"socket_address": {}}}}]
        }
        at = group["lb_endpoints"][0]["endpoint"]["address"]
        at["socket_address"] = {"address": "127.0.0.1", "port_value": 1}
        resource = {"@type": TYPE + ASSIGNMENT, "cluster_name": "a", "endpoints": [group]}
        self.assertEqual(
            "a", self.load({"resources": [resource]}, ASSIGNMENT).messages[0].cluster_name
        )
        at["socket_address"]["address"] = "host.example.com"
        found = self.load({"resources": [resource]}, ASSIGNMENT)
        self.assertEqual((), found.messages)
        self.assertIn("resources[0].endpoints[0].lb_endpoints[0]", str(found.errors[0]))


class WrongTests(ResourcesTestCase):
    """Files that are something else, and resources that are wrong."""

    def test_not_readable(self) -> None:
        """A file that is not there, no JSON, or no DiscoveryResponse is not read at all, and the
        place is told.
        """
        error = self.assertRaises(
            NotReadable, load_resources, "/nowhere/f.json", CLUSTER, Bootstrap()
        )
        self.assertIn("/nowhere/f.json: cannot read", str(error))
        self.assertIn("FILE:1:", self.refused("{"))
        self.assertEqual("FILE:1:1: a DiscoveryResponse is a mapping", self.refused("[]"))
        self.assertIn("no field 'listeners'", self.refused({"listeners": []}))
        self.assertIn("a resource is a mapping", self.refused({"resources": [7]}))
        self.assertIn("not a DiscoveryResponse", self.refused(b"\xff\xff", name="f.pb"))
        self.assertIn("not a DiscoveryResponse", self.refused("resources {", name="f.pb_text"))

    def test_other_kind(self) -> None:
        """A resource of another type than the file is for is one of a mistaken file."""
        self.assertIn(
            f"a resource is a {CLUSTER}, expected a {LISTENER}",
            self.refused({"resources": [cluster("a")]}, LISTENER),
        )
        self.assertIn("a resource is a message without @type", self.refused({"resources": [{}]}))
        response = DiscoveryResponse()
        response.resources.add().Pack(cluster_message("a", ["127.0.0.1:1"]))
        self.assertIn(
            f"expected a {LISTENER}", self.refused(response.SerializeToString(), LISTENER, "f.pb")
        )

    def test_broken_bytes(self) -> None:
        """Of a binary file with a resource that is not what it says it is, that is told."""
        for kind in (CLUSTER, "envoy.service.discovery.v3.Resource"):
            response = DiscoveryResponse()
            url = f"type.googleapis.com/{kind}"
            response.resources.add(type_url=url, value=b"\xff\xff")
            self.assertIn(
                f"what a resource has is no {kind}",
                self.refused(response.SerializeToString(), CLUSTER, "f.pb"),
            )

    def test_one_of_several(self) -> None:
        """Of several resources one that is wrong is left out, and told with its line."""
        text = json.dumps(
            {"resources": [cluster("a"), cluster("b", connect_timeout="NONSENSE"), cluster("c")]},
            indent=1,
        )
        found = self.load(text)
        self.assertEqual(["a", "c"], [each.name for each in found.messages])
        self.assertEqual(frozenset("b"), found.wrong_names)
        (error,) = found.errors
        self.assertEqual("resources[1].connect_timeout", error.path)
        self.assertEqual("NONSENSE", text.splitlines()[error.place.line - 1].split('"')[3])

    def test_unsupported(self) -> None:
        """What tcpmesh does not support yet is an error too, or a warning where that is allowed."""
        resources = {"resources": [cluster("a", lrs_server={"self": {}})]}
        self.assertEqual("resources[0].lrs_server", self.load(resources).errors[0].path)
        allowed = self.load(resources, allow_unsupported=True)
        self.assertEqual(("a", ()), (allowed.messages[0].name, allowed.errors))
        self.assertIn("resources[0].lrs_server", [each.path for each in allowed.warnings])

    def test_unknown_fields(self) -> None:
        """Fields that nobody knows are let pass and counted, or are errors."""
        resources = {"resources": [cluster("a", nonsense=1)]}
        found = self.load(resources)
        self.assertEqual((1, ()), (found.unknown_fields, found.errors))
        found = self.load(resources, allow_unknown_fields=False)
        self.assertEqual(((), frozenset("a")), (found.messages, found.wrong_names))

    def test_clusters_elsewhere(self) -> None:
        """That a cluster is not in the file says nothing: it may come from elsewhere."""
        proxy = {
            "@type": TYPE + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "t",
            "cluster": "elsewhere",
        }
        listener = {
            "@type": TYPE + LISTENER,
            "name": "l",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
            "filter_chains": [{"filters": [{"name": "t", "typed_config": proxy}]}],
        }
        found = self.load({"resources": [listener]}, LISTENER)
        self.assertEqual(((), ()), (found.errors, found.warnings))


class RuntimeTests(ResourcesTestCase):
    """Runtime layers."""

    def runtime(self, layer: Any, name: str = "live", **more: Any) -> dict[str, Any]:
        """A file of one `Runtime`."""
        return {"resources": [{"@type": TYPE + RUNTIME, "name": name, "layer": layer, **more}]}

    def test_forms(self) -> None:
        """Values are read in each form that a file may have."""
        (found,) = self.load(self.runtime({"a": 1, "b": {"c": "x"}}), RUNTIME).messages
        response = DiscoveryResponse()
        made = Runtime(name="live", layer=found.static_layer)
        response.resources.add().Pack(made)
        for name, content in (
            ("f.pb", response.SerializeToString()),
            ("f.pb_text", text_format.MessageToString(response)),
        ):
            self.assertEqual((found,), self.load(content, RUNTIME, name).messages)

    def test_problems(self) -> None:
        """What is no value is told with the path that was written, and its line."""
        (error,) = self.load(self.runtime({"a": {"b": [1]}}), RUNTIME).errors
        self.assertIn("resources[0].layer.a.b: no runtime value: a list", str(error))
        self.assertEqual(1, error.place.line)


class SecretTests(ResourcesTestCase):
    """Secrets."""

    def test_forms(self) -> None:
        """A secret is taken as it stands; files that it names have to be there."""
        for content, errors in (({"inline_string": "x"}, 0), ({"filename": "/nowhere"}, 1)):
            secret = {"name": "a", "tls_certificate": {"certificate_chain": content}}
            found = self.load({"resources": [{"@type": TYPE + SECRET, **secret}]}, SECRET)
            self.assertEqual((errors, 1 - errors), (len(found.errors), len(found.messages)))

    def test_problems(self) -> None:
        """A kind that nothing here can use is refused by name."""
        secret = {"name": "a", "generic_secret": {"secret": {"inline_string": "x"}}}
        found = self.load({"resources": [{"@type": TYPE + SECRET, **secret}]}, SECRET)
        self.assertIn("resources[0].generic_secret", str(found.errors[0]))
        self.assertEqual(frozenset("a"), found.wrong_names)
