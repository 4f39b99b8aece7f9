"""WRR_LOCALITY."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.text.problems import ConfigError
from tcpmesh.testing.balance import Balance, SimHost

TYPE = "type.googleapis.com/envoy.extensions.load_balancing_policies."
HOSTS = [SimHost("a", zone="z1"), *(SimHost(name, zone="z2") for name in "bcd")]


def one(name: str, more: str = "") -> str:
    """A LoadBalancingPolicy of one policy."""
    return (
        f'{{policies: [{{typed_extension_config: {{name: x, typed_config: {{"@type": '
        f"{TYPE}{name}{more}}}}}}}]}}"
    )


class WrrLocalityTests(SynchronousTestCase):
    """The policy."""

    def balance(self, inner: str) -> Balance:
        """One zone of one host and one of three, which weighs as much."""
        policy = one("wrr_locality.v3.WrrLocality", f", endpoint_picking_policy: {inner}")
        return Balance(f"load_balancing_policy: {policy}", HOSTS, zone_weights={"z1": 1, "z2": 1})

    def test_localities_by_weight(self) -> None:
        """Localities take turns by weight, and the policy inside picks among the hosts of each."""
        for inner in (
            "round_robin.v3.RoundRobin",
            "least_request.v3.LeastRequest",
            "random.v3.Random",
        ):
            self.assertEqual(300, self.balance(one(inner)).picks(600)["a"], inner)
        self.assertEqual(
            {"a": 300, "b": 100, "c": 100, "d": 100},
            dict(self.balance(one("round_robin.v3.RoundRobin")).picks(600)),
        )

    def test_nothing_inside(self) -> None:
        """Without a policy inside the configuration is refused, as in Envoy."""
        self.assertRaises(ConfigError, self.balance, "{}")
