"""What `--allow-unsupported` lets pass, and what it never does."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.messages.types import find_type
from tcpmesh.config.support.safety import guards_field
from tests.config.texts import changed, load_text, problems_of

EXTENSIONS = "type.googleapis.com/envoy.extensions."

_TAP = "common_config: {admin_config: {config_id: x}}, transport_socket: {name: raw}"


class GuardTests(SynchronousTestCase):
    """Configurations of those who migrate."""

    def assert_refused(self, *changes: tuple[str, str]) -> None:
        """Assert that this is an error, because it is not supported, although that is allowed."""
        found = [problem.text for problem in problems_of(changed(*changes), allow_unsupported=True)]
        self.assertTrue(
            any("--allow-unsupported does not cover it" in text for text in found),
            found,
        )

    def test_ignored(self) -> None:
        """What protects nobody is ignored, and a warning says so."""
        loaded = load_text(
            changed(("type: STATIC", "lrs_server: {self: {}}")), allow_unsupported=True
        )

        self.assertIn("it is ignored", loaded.warnings[0].text)

    def test_no_plain_text(self) -> None:
        """What was to be encrypted is not served in plain text: an unknown transport socket stays
        an error on both sides.
        """
        socket = (
            f"transport_socket: {{name: s, typed_config: {{'@type': "
            f"{EXTENSIONS}transport_sockets.tap.v3.Tap}}}}"
        )
        socket = socket.replace("v3.Tap}", f"v3.Tap, {_TAP}}}")
        self.assert_refused(("type: STATIC", f"type: STATIC\n    {socket}"))
        self.assert_refused(("    - filters:", f"    - {socket}\n      filters:"))

    def test_no_filter_left_out(self) -> None:
        """A filter that is not there is not skipped, nor a listener filter, nor a match of which
        nothing is known.
        """
        there_is_none = f"{EXTENSIONS}filters.network.ext_proc.v3.NetworkExternalProcessor"
        direct = f"""- filters:
      - name: d
        typed_config: {{'@type': {there_is_none}, stat_prefix: x}}
      - name: proxy"""
        self.assert_refused(("- filters:\n      - name: proxy", direct))

    def test_every_field_that_guards(self) -> None:
        """No field of TLS, of access rules and of what selects a filter chain is ever ignored."""
        for name in (
            "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext",
            "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
            "envoy.extensions.filters.network.rbac.v3.RBAC",
            "envoy.config.rbac.v3.Policy",
            "envoy.config.listener.v3.FilterChainMatch",
        ):
            for field in find_type(name).fields:
                self.assertTrue(guards_field(field.full_name), field.full_name)

    def test_names(self) -> None:
        """The fields that are listed one by one exist."""
        from tcpmesh.config.support import safety as guards

        for full_name in guards._FIELDS | guards._HARMLESS_VALUES:
            message, _, field = full_name.rpartition(".")
            self.assertIn(field, find_type(message).fields_by_name, full_name)

    def test_value_that_selects(self) -> None:
        """A value that stands for code which is not there stays an error: nothing could run in its
        place.
        """
        self.assert_refused(
            (
                "      socket_address:\n        address: 127.0.0.1",
                "      socket_address:\n        protocol: UDP\n        address: 127.0.0.1",
            )
        )
