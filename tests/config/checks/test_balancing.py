"""What is refused of policies that hash, choose subsets or take the host a connection names, beyond
the rules of the schema.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import GOOD, said

TYPES = "type.googleapis.com/envoy.extensions.load_balancing_policies"


def policy(name: str, fields: str = "") -> str:
    """A `load_balancing_policy` of one typed policy, in flow style."""
    return (
        f'{{policies: [{{typed_extension_config: {{name: p, typed_config: {{"@type": '
        f"{TYPES}.{name}, {fields}}}}}}}]}}"
    )


RING = policy("ring_hash.v3.RingHash")


class BalancingTests(SynchronousTestCase):
    """A cluster with further fields."""

    def said(self, fields: str) -> list[str]:
        """What is wrong with a cluster of these fields."""
        return said(f"{GOOD}    {fields}\n")

    def assert_says(self, expected: str, fields: str) -> None:
        """One problem is reported, in these words."""
        (problem,) = self.said(fields)
        self.assertIn(expected, problem)

    def assert_fine(self, fields: str) -> None:
        """There is nothing to report."""
        self.assertEqual([], self.said(fields))

    def test_ring_sizes(self) -> None:
        """The smallest size of a ring is not above the largest, also where one of them is the
        default.
        """
        typed = "ring_hash.v3.RingHash"
        self.assert_says(
            "minimum_ring_size 5 is above maximum_ring_size 4",
            self.ring("minimum_ring_size: 5, maximum_ring_size: 4"),
        )
        self.assert_says(
            "minimum_ring_size 1024 is above maximum_ring_size 1000",
            self.ring("maximum_ring_size: 1000"),
        )
        self.assert_says(
            "minimum_ring_size 1024 is above maximum_ring_size 1000",
            f"load_balancing_policy: {policy(typed, 'maximum_ring_size: 1000')}",
        )
        self.assert_fine(self.ring("minimum_ring_size: 4, maximum_ring_size: 4"))
        self.assert_fine(
            f"load_balancing_policy: {policy(typed, 'minimum_ring_size: 1, maximum_ring_size: 1')}"
        )

    def ring(self, fields: str) -> str:
        """The old form of the policy."""
        return f"lb_policy: RING_HASH\n    ring_hash_lb_config: {{{fields}}}"

    def test_table_size(self) -> None:
        """The size of a Maglev table is prime."""
        for size in (250, 1, 0):
            expected = f"must be a prime number, {size} is not"
            self.assert_says(
                expected,
                f"load_balancing_policy: {policy('maglev.v3.Maglev', f'table_size: {size}')}",
            )
        self.assert_says("250 is not", "lb_policy: MAGLEV\n    maglev_lb_config: {table_size: 250}")
        self.assert_fine("lb_policy: MAGLEV\n    maglev_lb_config: {table_size: 251}")
        self.assert_fine("lb_policy: ROUND_ROBIN\n    maglev_lb_config: {table_size: 250}")

    def test_two_ways_at_once(self) -> None:
        """What a typed policy says itself cannot be said by the cluster's own fields beside it;
        what is of no use there may be.
        """
        typed = f"load_balancing_policy: {RING}\n    "
        self.assert_says("lb_subset_config cannot be combined", f"{typed}lb_subset_config: {{}}")
        for name in (
            "zone_aware_lb_config",
            "locality_weighted_lb_config",
            "consistent_hashing_lb_config",
        ):
            self.assert_says(
                f"{name} cannot be combined", f"{typed}common_lb_config: {{{name}: {{}}}}"
            )
        self.assert_fine(
            f"{typed}ring_hash_lb_config: {{minimum_ring_size: 5}}\n    common_lb_config: {{}}"
        )

    def test_subsets_of_a_provided_balancer(self) -> None:
        """A balancer that the cluster provides chooses no subsets."""
        subsets = "lb_subset_config: {subset_selectors: [{keys: [a]}]}"
        problems = self.said(f"lb_policy: CLUSTER_PROVIDED\n    {subsets}")
        self.assertTrue(
            any(
                "CLUSTER_PROVIDED cannot be combined with lb_subset_config" in problem
                for problem in problems
            )
        )

    def test_fallback_keys(self) -> None:
        """KEYS_SUBSET falls back to some of the selector's keys and not to all; other policies have
        no use for them.
        """
        for selector, expected in (
            (
                "keys: [a, b], fallback_policy: KEYS_SUBSET",
                "KEYS_SUBSET needs fallback_keys_subset",
            ),
            (
                "keys: [a, b], fallback_policy: KEYS_SUBSET, fallback_keys_subset: [c]",
                "must be some of the selector's keys",
            ),
            (
                "keys: [a, b], fallback_policy: KEYS_SUBSET, fallback_keys_subset: [b, a]",
                "must be some of the selector's keys",
            ),
            ("keys: [a, b], fallback_keys_subset: [a]", "is only for fallback_policy KEYS_SUBSET"),
            (
                "keys: [a, b], fallback_policy: ANY_ENDPOINT, fallback_keys_subset: [a]",
                "is only for fallback_policy KEYS_SUBSET",
            ),
        ):
            selectors = f"subset_selectors: [{{{selector}}}]"
            typed = policy("subset.v3.Subset", f"{selectors}, subset_lb_policy: {RING}")
            self.assert_says(expected, f"lb_subset_config: {{{selectors}}}")
            self.assert_says(expected, f"load_balancing_policy: {typed}")
        self.assert_fine(
            "lb_subset_config: {subset_selectors: [{keys: [a, b], fallback_policy: KEYS_SUBSET, "
            "fallback_keys_subset: [a]}]}"
        )

    def test_subsets_that_are_allowed(self) -> None:
        """Selectors without keys, given twice, or of one host and several keys are accepted."""
        for selector in (
            "keys: []",
            "keys: [a]}, {keys: [a]",
            "keys: [a, b], single_host_per_subset: true",
        ):
            self.assert_fine(f"lb_subset_config: {{subset_selectors: [{{{selector}}}]}}")

    def test_localities_in_subsets(self) -> None:
        """Subsets heed the weights of localities only where the cluster does."""
        aware = "lb_subset_config: {locality_weight_aware: true}"
        self.assert_says("needs locality_weighted_lb_config", aware)
        self.assert_says(
            "needs locality_weighted_lb_config",
            f"{aware}\n    common_lb_config: {{zone_aware_lb_config: {{}}}}",
        )
        self.assert_fine(f"{aware}\n    common_lb_config: {{locality_weighted_lb_config: {{}}}}")

    def test_policies_that_do_not_count(self) -> None:
        """Sizes are judged of the policy that is taken, the first one known, and a type of somebody
        else may stand before it.
        """
        fine, wrong = (f'"@type": {TYPES}.maglev.v3.Maglev, table_size: {size}' for size in (7, 8))
        struct = (
            '"@type": type.googleapis.com/%s.TypedStruct, type_url: '
            "type.googleapis.com/my.Policy, value: {a: 1}"
        )
        entries = "load_balancing_policy: {policies: [%s]}"
        entry = "{typed_extension_config: {name: p, typed_config: {%s}}}"
        self.assert_fine(entries % f"{entry % fine}, {entry % wrong}")
        self.assert_says("prime", entries % f"{entry % wrong}, {entry % fine}")
        for package in ("xds.type.v3", "udpa.type.v1"):
            self.assert_fine(entries % f"{entry % (struct % package)}, {entry % fine}")
            self.assert_says("prime", entries % f"{entry % (struct % package)}, {entry % wrong}")
            self.assert_says("names no policy that is known", entries % entry % (struct % package))

    def test_policy_within(self) -> None:
        """SUBSET and override_host need a policy within that is known."""
        sources = "override_host_sources: [{header: x}]"
        for name, fields, within in (
            ("subset.v3.Subset", "", "subset_lb_policy"),
            ("override_host.v3.OverrideHost", f"{sources},", "fallback_policy"),
        ):
            self.assert_says(
                f"{within} is required", f"load_balancing_policy: {policy(name, fields)}"
            )
            self.assert_says(
                f"{within} names no policy that is known",
                f"load_balancing_policy: {policy(name, f'{fields} {within}: {{policies: []}}')}",
            )
            self.assert_fine(f"load_balancing_policy: {policy(name, f'{fields} {within}: {RING}')}")

    def test_override_sources(self) -> None:
        """A source of names is either a header or metadata."""
        for source in ("{}", "{header: x, metadata: {key: a, path: [{key: b}]}}"):
            fields = f"override_host_sources: [{source}], fallback_policy: {RING}"
            self.assert_says(
                "a source is either a header or metadata",
                f"load_balancing_policy: {policy('override_host.v3.OverrideHost', fields)}",
            )
