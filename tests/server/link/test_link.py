"""The wall between main and a worker: nothing but messages passes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable
from enum import Enum
from types import FunctionType, ModuleType

from google.protobuf.message import Message

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.link import link
from tcpmesh.server.link.link import BytesLink, DirectLink, NoSuchLink, default_link
from tcpmesh.testing.mesh import Mesh
from tests.mesh import address_yaml, tcp_proxy

HOST = "127.0.0.2:80"
CHECK = (
    "{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, "
    "tcp_health_check: {}}"
)
ADDRESS = f"{{endpoint: {{address: {address_yaml(HOST)}}}}}"
CONFIG = f"""
node: {{id: one}}
cluster_manager: {{upstream_bind_config: {{source_address: {{address: 127.0.0.9, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: l
    address: {address_yaml("127.0.0.1:1")}
    filter_chains: [{{filters: {tcp_proxy()}}}]
  - name: o
    address: {address_yaml("127.0.0.1:2")}
    use_original_dst: true
    filter_chains: [{{filters: {tcp_proxy("cluster: o", "o")}}}]
  clusters:
  - name: c
    health_checks: [{CHECK}]
    outlier_detection: {{}}
    load_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: [{ADDRESS}, {ADDRESS}]}}]}}
  - {{name: o, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED}}
"""


def reachable(root: object, walls: Iterable[object]) -> dict[int, object]:
    """All objects that one leads to, by their ids: not through the walls, and not by what a module
    or a class has, for that is there once in each process.
    """
    stop = {id(each) for each in walls}
    found: dict[int, object] = {}
    left = [root]
    while left:
        each = left.pop()
        if id(each) in found or id(each) in stop or isinstance(each, (type, ModuleType)):
            continue
        found[id(each)] = each
        if isinstance(each, FunctionType):
            left += each.__closure__ or ()
            left += each.__defaults__ or ()
        else:
            left += gc.get_referents(each)
    return found


def module_values() -> list[object]:
    """What the modules of tcpmesh have."""
    return [
        value
        for name, module in tuple(sys.modules.items())
        if name.startswith("tcpmesh.")
        for value in vars(module).values()
    ]


def is_ours(each: object) -> bool:
    """Whether an object must not be had by both: one of tcpmesh's classes, or a message, unless
    nobody can change it.
    """
    if isinstance(each, Message):
        return True
    parameters = getattr(each, "__dataclass_params__", None)
    frozen = isinstance(each, (Enum, tuple)) or (parameters is not None and parameters.frozen)
    return type(each).__module__.startswith("tcpmesh.") and not frozen


class WallTests(SynchronousTestCase):
    """What both sides can reach."""

    def shared(self, made: type[DirectLink]) -> set[str]:
        """The types of the objects that both sides of a busy proxy have, over this kind of link."""
        mesh = Mesh(CONFIG, link=made())
        mesh.upstream(HOST)
        mesh.main.initialize()
        mesh.advance(3)
        client = mesh.connect("127.0.0.1:1")
        mesh.network.refused.add(mesh.cluster("c").hosts[0].address)  # type: ignore[union-attr]
        mesh.connect("127.0.0.1:1")
        mesh.network.refused.clear()
        mesh.connect("127.0.0.1:1")
        list(mesh.clusters.statuses())
        mesh.stats()
        self.assertFalse(client.ended)
        walls = [
            *(mesh.network, *vars(mesh.network).values(), *vars(mesh.network.clock).values()),
            mesh.link,
        ]
        if not mesh.link.joins_processes:
            walls += [mesh.store, *vars(mesh.store).values()]
        once = reachable(module_values(), walls)
        main, worker = (reachable(each, walls) for each in (mesh.main, mesh.worker))
        self.assertGreater(len(main), 200)
        self.assertGreater(len(worker), 200)
        return {
            type(main[each]).__qualname__
            for each in (main.keys() & worker.keys()) - once.keys()
            if is_ours(main[each])
        }

    def test_bytes(self) -> None:
        """Over a link of bytes no object that can change is had by main and the worker both."""
        self.assertEqual(set(), self.shared(BytesLink))

    def test_direct(self) -> None:
        """Over a direct link they have the messages of the configuration in common, which nobody
        changes, and the statistics of the process.
        """
        shared = self.shared(DirectLink)
        self.assertIn("Cluster", shared)
        messages = {"Cluster", "Listener", "Node", "BindConfig", "Address"}
        statistics = {"Family", "Counter", "Gauge"}
        self.assertEqual(set(), shared - messages - statistics)


class DefaultTests(SynchronousTestCase):
    """Which link there is."""

    def test_chosen(self) -> None:
        """The environment chooses; without a word messages are handed over as they are."""
        for name, kind in (("", DirectLink), ("direct", DirectLink), ("bytes", BytesLink)):
            self.patch(os, "environ", {link.VARIABLE: name})
            self.assertIs(kind, type(default_link()))

    def test_another(self) -> None:
        """A link that is not there is refused, with those that are."""
        self.patch(os, "environ", {link.VARIABLE: "string"})
        failure = self.assertRaises(NoSuchLink, default_link)
        self.assertIn("'string'; there are direct and bytes", str(failure))
