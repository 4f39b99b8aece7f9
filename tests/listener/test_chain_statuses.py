"""What is shown of filter chains."""

from __future__ import annotations

from envoy.config.listener.v3 import listener_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.listener.chain_statuses import chain_statuses
from tcpmesh.values.statuses import ChainStatus
from tests.mesh import TCP_PROXY, parse


def proxy(where: str) -> str:
    """The filters of a chain that sends its clients there."""
    config = f"{{'@type': {TCP_PROXY}, stat_prefix: p, {where}}}"
    return f"filters: [{{name: tcp, typed_config: {config}}}]"


class ChainStatusTests(SynchronousTestCase):
    """What a listener's message says."""

    def test_chains(self) -> None:
        """Each chain is shown with the names it takes and its clusters, the default one last."""
        weighted = "weighted_clusters: {clusters: [{name: b, weight: 1}, {name: c, weight: 2}]}"
        message = parse(
            listener_pb2.Listener,
            f"""
            default_filter_chain: {{{proxy("cluster: rest")}}}
            filter_chains:
            - {{name: a, filter_chain_match: {{server_names: [a.test]}}, {proxy("cluster: a")}}}
            - {{{proxy(weighted)}}}
            - name: empty
            """,
        )
        self.assertEqual(
            (
                ChainStatus("a", ("a.test",), ("a",), "tcp"),
                ChainStatus("", (), ("b", "c"), "tcp"),
                ChainStatus("empty"),
                ChainStatus("", (), ("rest",), "tcp", is_default=True),
            ),
            chain_statuses(message),
        )
