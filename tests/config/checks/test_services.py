"""What Envoy refuses of filters that ask a service, and where it is said."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import judged, said, warned

_URL = "type.googleapis.com/envoy.extensions.filters.network."
SERVICE = "grpc_service: {google_grpc: {target_uri: '127.0.0.1:1', stat_prefix: s}}"
LIMITS = (
    "ratelimit.v3.RateLimit, domain: d, rate_limit_service: {%s}, "
    "descriptors: [{entries: [{key: k, value: %s}]}]"
)


def bootstrap(config: str) -> str:
    """One whose listener has this filter before an echo."""
    filters = (
        f"[{{name: f, typed_config: {{'@type': {_URL}{config}, stat_prefix: p}}}}, "
        f"{{name: e, typed_config: {{'@type': {_URL}echo.v3.Echo}}}}]"
    )
    address = "{socket_address: {address: 127.0.0.1, port_value: 1}}"
    return (
        f"static_resources: {{listeners: [{{name: l, address: {address}, "
        f"filter_chains: [{{filters: {filters}}}]}}]}}"
    )


class ServiceTests(SynchronousTestCase):
    """ext_authz and ratelimit."""

    def test_version(self) -> None:
        """Only V3 of the transport is there."""
        for config, place in (
            (f"ext_authz.v3.ExtAuthz, {SERVICE}, %s", "typed_config"),
            (LIMITS % (f"{SERVICE}, %s", "v"), "typed_config.rate_limit_service"),
        ):
            for version in ("AUTO", "V3"):
                self.assertEqual([], said(bootstrap(config % f"transport_api_version: {version}")))
            (found,) = judged(bootstrap(config % "transport_api_version: V2"))
            self.assertIn(f".{place}.transport_api_version: transport_api_version V2", found)

    def test_no_service(self) -> None:
        """An ext_authz without a service is taken, as in Envoy, with a warning of what follows."""
        for more, follows in (("", "closed"), (", failure_mode_allow: true", "pass")):
            (found,) = warned(bootstrap(f"ext_authz.v3.ExtAuthz{more}"))
            self.assertIn("there is no service to ask", found)
            self.assertIn(follows, found)

    def test_formats(self) -> None:
        """The value of an entry is a format; it may be empty, and the key is none."""
        for value in ("''", "a-%DOWNSTREAM_LOCAL_PORT%"):
            self.assertEqual([], said(bootstrap(LIMITS % (SERVICE, value))))
        (found,) = judged(bootstrap(LIMITS % (SERVICE, "'%NOPE%'")))
        self.assertIn("descriptors[0].entries[0].value: ", found)

    def test_fill_interval(self) -> None:
        """A token bucket of local_ratelimit is filled every 50 ms at most."""
        config = (
            "local_ratelimit.v3.LocalRateLimit, token_bucket: {max_tokens: 1, fill_interval: %s}"
        )
        self.assertEqual([], said(bootstrap(config % "0.05s")))
        (found,) = judged(bootstrap(config % "0.049s"))
        self.assertIn("token_bucket.fill_interval: ", found)
