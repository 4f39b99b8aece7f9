"""WRR_LOCALITY: localities take turns by their weights, and another policy picks in them.

Envoy takes only `client_side_weighted_round_robin` as the policy inside; here every policy that
knows localities will do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from envoy.extensions.load_balancing_policies.wrr_locality.v3 import wrr_locality_pb2

from tcpmesh.cluster.balancing.policy import PolicyContext, first_known
from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.registry import extension


@extension(wrr_locality_pb2.WrrLocality)
class WrrLocality:
    """Makes the policy that a `WrrLocality` message has inside."""

    def __new__(cls, message: Any, context: PolicyContext) -> ILoadBalancer:  # type: ignore[misc]
        """That policy, told to choose localities by weight.

        :raise tcpmesh.registry.UnknownExtension: where none of the policies inside is known.
        """
        return first_known(
            message.endpoint_picking_policy, replace(context, locality_weighted=True)
        )
