"""The hash policies and subsets against what the real Envoy chose, see `record_hashes`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from google.protobuf.json_format import ParseDict
from xxhash import xxh64_intdigest

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.metadata import criteria

# A message can only be parsed once its module is imported, which these do.
from tcpmesh.extensions.load_balancing_policies import maglev, override_host, ring_hash, subset  # noqa: F401
from tcpmesh.stats.store import Store
from tcpmesh.testing.mesh import values_of
from tests.differential.hash_scenarios import ADDRESSES, PIPE, SCENARIOS
from tests.differential.record_hashes import scenario
from tests.picks import Client, cluster_of

RECORDING = json.loads(Path(__file__).with_name("hashes.json").read_text())
LETTERS = {**{address: name for name, address in ADDRESSES.items()}, (PIPE, 0): "p"}

#: What an Envoy with one worker counts twice: main has a balancer of its own.
TWICE = ("lb_subsets_active", "lb_subsets_created")

#: Gauges that each subset's table overwrites, so that they are those of the last one, whichever
#: that is.
OVERWRITTEN = ("ring_hash_lb", "maglev_lb")

#: In Envoy a selector loses its fallback policy when one with more keys stands before it; ours
#: keeps it.
DEPARTURES = {"subset_selector_after_longer": "c" * 120}


class RecordedTests(SynchronousTestCase):
    """One test for each scenario of the recording, and one of the recording itself."""

    def test_recording(self) -> None:
        """The recording is of the scenarios as they are now."""
        recorded = {name: facts["cluster"] for name, facts in RECORDING["scenarios"].items()}
        self.assertEqual({name: scenario(name)[0] for name in SCENARIOS}, recorded)


def _test(name: str, facts: dict[str, Any]) -> Any:
    def test(self: SynchronousTestCase) -> None:
        store = Store()
        message = ParseDict(facts["cluster"], cluster_pb2.Cluster())
        cluster = cluster_of(message, store)
        match = ParseDict(facts["metadata_match"] or {}, base_pb2.Metadata())
        seen = "".join(
            _pick(cluster, source, criteria(match) or None, facts["held"])
            for source in RECORDING["envoy"]["sources"]
        )
        self.assertEqual(DEPARTURES.get(name, facts["picks"]), seen)
        if name not in DEPARTURES:
            self.assertEqual(_expected(name, facts["stats"]), _counted(name, store))

    test.__doc__ = (
        f"Scenario {name}: each client gets the host that it gets from Envoy, and "
        f"the same is counted."
    )
    return test


def _pick(cluster: Cluster, source: str, match: dict[str, Any] | None, held: bool) -> str:
    host: Host | None = cluster.pick(Client(xxh64_intdigest(source.encode()), match))
    if host is None:
        cluster.stats.cx_none_healthy.tally += 1
        return "-"
    if held:
        host.rq_active += 1
        cluster.breakers.requests.own += 1
    return LETTERS[host.address.host, host.address.port]


def _expected(name: str, recorded: dict[str, int]) -> dict[str, int]:
    return {
        stat: value // 2 if stat in TWICE else value
        for stat, value in recorded.items()
        if _is_compared(name, stat)
    }


def _counted(name: str, store: Store) -> dict[str, int]:
    values = {full.split(".", 2)[2]: value for full, value in values_of(store).items() if value}
    wanted = ("lb_", "ring_hash_lb", "maglev_lb", "upstream_cx_none_healthy")
    return {
        stat: value
        for stat, value in values.items()
        if stat.startswith(wanted) and _is_compared(name, stat)
    }


def _is_compared(name: str, stat: str) -> bool:
    return not (name.startswith("subset_") and stat.startswith(OVERWRITTEN))


for _name, _facts in RECORDING["scenarios"].items():
    setattr(RecordedTests, f"test_{_name}", _test(_name, _facts))
