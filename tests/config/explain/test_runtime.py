"""Runtime values in explain mode."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3.outlier_detection_pb2 import OutlierDetection

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing import policy
from tcpmesh.cluster.health import outlier_settings
from tcpmesh.cluster.health.outlier_settings import Settings
from tcpmesh.cluster.upstream import circuit_breakers
from tcpmesh.config.explain import as_dict, explain
from tcpmesh.config.explain.runtime import RuntimeExplainer
from tcpmesh.listener import accept_limit
from tcpmesh.runtime.runtime import Runtime
from tests.config.texts import GOOD, load_text

LIMIT = "type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit"
FILTER = f"""- name: l
        typed_config:
          "@type": {LIMIT}
          stat_prefix: l
          max_connections: 5
          runtime_enabled: {{default_value: true, runtime_key: my.key}}
      - name: proxy"""


def explained(values: str) -> dict[str, Any]:
    """The good bootstrap with a limit before its proxy and these values, explained."""
    layers = f"layered_runtime: {{layers: [{{name: a, static_layer: {{{values}}}}}]}}\n"
    return as_dict(explain(load_text(layers + GOOD.replace("- name: proxy", FILTER))))


class ExplainTests(SynchronousTestCase):
    """What is said of each value."""

    def settings(self, values: str) -> dict[str, dict[str, Any]]:
        """What is said of values, by their keys."""
        found = explained(values)["process"]["settings"]
        prefix = "runtime "
        return {
            each["name"].removeprefix(prefix): each
            for each in found
            if each["name"].startswith(prefix)
        }

    def test_meanings(self) -> None:
        """A key that something goes by says by what, at its line."""
        values = (
            "circuit_breakers.web.high.max_retries: 5, upstream: {healthy_panic_threshold: 20}, "
            "my: {key: false}, outlier_detection.interval_ms: 100"
        )
        found = self.settings(values)
        self.assertEqual(
            {key: (each["value"], each["meaning"]) for key, each in found.items()},
            {
                "circuit_breakers.web.high.max_retries": (
                    5,
                    "in place of max_retries of the cluster web",
                ),
                "upstream.healthy_panic_threshold": (
                    20,
                    "in place of healthy_panic_threshold of all clusters",
                ),
                "my.key": (False, "in place of the default of all that name this key"),
                "outlier_detection.interval_ms": (
                    100,
                    "in place of interval of the outlier detection of all clusters, in "
                    "milliseconds",
                ),
            },
        )
        self.assertEqual(found["my.key"]["source"]["line"], 1)
        self.assertNotIn("", [each["meaning"] for each in found.values()])

    def test_ignored(self) -> None:
        """A flag of Envoy's own code has no effect, nor has a key that nothing goes by."""
        found = self.settings("envoy.reloadable_features.x: true, nonsense: 1")
        self.assertEqual(
            [each["ignored"] for each in found.values()],
            ["a flag of Envoy's own code, which tcpmesh has not", "nothing here goes by this key"],
        )

    def test_overload_manager(self) -> None:
        """The limit of all listeners has no effect beside that of the overload manager."""
        found = self.settings(f"{accept_limit.GLOBAL_KEY}: 5")
        self.assertEqual([""], [each["ignored"] for each in found.values()])
        kind = "downstream_connections.v3.DownstreamConnectionsConfig"
        typed = f"type.googleapis.com/envoy.extensions.resource_monitors.{kind}"
        config = f'{{"@type": {typed}, max_active_downstream_connections: 7}}'
        name = "envoy.resource_monitors.global_downstream_max_connections"
        manager = (
            f"overload_manager: {{resource_monitors: [{{name: {name}, typed_config: {config}}}]}}"
        )
        explainer = RuntimeExplainer(load_text(f"{GOOD}{manager}\n").bootstrap)
        self.assertIn("overload manager", explainer.ignored(accept_limit.GLOBAL_KEY))

    def test_default(self) -> None:
        """A field with a runtime key says what the runtime has in place of its default."""
        for values, note in (
            ("my.key: false", "the runtime has false, which goes before the default"),
            ("other: 1", ""),
        ):
            chain = explained(values)["listeners"][0]["groups"][0]
            settings = {each["name"]: each for each in chain["groups"][0]["settings"]}
            self.assertEqual(settings["runtime_enabled.runtime_key"]["note"], note)


class KeyTests(SynchronousTestCase):
    """The keys that are explained are those that are read."""

    def setUp(self) -> None:
        """A configuration that names no keys."""
        self.explainer = RuntimeExplainer(load_text(GOOD).bootstrap)

    def test_read(self) -> None:
        """Each key that is read has a meaning."""
        asked: list[str] = []

        class Asked(Runtime):
            """Remembers keys."""

            def integer(self, key: str, default: int) -> int:
                """It has nothing."""
                asked.append(key)
                return default

        Settings.of(OutlierDetection(), Asked())
        self.assertTrue(all(key.startswith(outlier_settings.RUNTIME_PREFIX) for key in asked))
        for limit in circuit_breakers.LIMITS:
            asked.append(f"{circuit_breakers.RUNTIME_PREFIX}c.default.{limit}")
        asked += [policy.PANIC_KEY, accept_limit.GLOBAL_KEY]
        asked.append(f"{accept_limit.LISTENER_PREFIX}l.connection_limit")
        self.assertGreater(len(asked), 25)
        self.assertEqual([], [key for key in asked if not self.explainer.meaning(key)])
