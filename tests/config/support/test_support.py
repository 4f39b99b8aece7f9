"""What tcpmesh says of fields it does not act on, and that it says the truth of those it does."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh import registry
from tcpmesh.config.messages import types
from tcpmesh.config.messages.types import content_name_of, find_type
from tcpmesh.config.support import EXTENSIONS, TABLE
from tcpmesh.config.support import page as supported
from tcpmesh.config.support.page import NOT_SUPPORTED
from tcpmesh.config.text.problems import ConfigError
from tests.config.texts import GOOD, changed, load_text, said, warned

HOME = Path(__file__).resolve().parents[3]


class SupportTests(SynchronousTestCase):
    """Fields that Envoy knows."""

    def test_unsupported_field(self) -> None:
        """A field that is not acted on is an error with its line, never ignored."""
        self.assertEqual(
            [
                "19:5: static_resources.clusters[0].lrs_server: Envoy knows this field, tcpmesh "
                "does not support it yet"
            ],
            said(changed(("type: STATIC", "lrs_server: {self: {}}"))),
        )

    def test_unsupported_value(self) -> None:
        """A value that is not acted on is an error that names those that are."""
        check = (
            "{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, "
            "http_health_check: {path: /, codec_client_type: HTTP3}}"
        )
        (problem,) = said(changed(("type: STATIC", f"type: STATIC\n    health_checks: [{check}]")))
        self.assertIn(
            "static_resources.clusters[0].health_checks[0].http_health_check.codec_client_type: "
            "Envoy knows the value HTTP3, tcpmesh does not support it yet, only HTTP1, HTTP2",
            problem,
        )

    def test_default_value(self) -> None:
        """A field that is set to what it is without being set is no problem."""
        port = "        port_value: 10000\n"
        for protocol, problems in (("TCP", 0), ("UDP", 1)):
            text = changed((port, f"{port}        protocol: {protocol}\n"))
            found = [each for each in said(text) if "protocol" in each]
            self.assertEqual(problems, len(found), protocol)

    def test_unsupported_extension(self) -> None:
        """An extension that is not there is named at its @type."""
        text = changed(
            ("tcp_proxy.v3.TcpProxy", "dubbo_proxy.v3.DubboProxy"),
            ("          cluster: web\n          idle_timeout: 5s\n", ""),
        )

        self.assertEqual(1, len(said(text)))
        self.assertIn("12:20: ", said(text)[0])
        self.assertIn(
            "filters.network.dubbo_proxy.v3.DubboProxy: it answers clients in Dubbo",
            said(text)[0],
        )

    def test_no_extension(self) -> None:
        """A type that is not of Envoy's making is not said to be known to it."""
        text = changed(
            ("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "google.protobuf.Any"),
            ("          cluster: web\n          idle_timeout: 5s\n", ""),
        )
        self.assertIn("google.protobuf.Any is no network filter", said(text)[0])
        self.assertFalse([each for each in said(text) if "Envoy knows" in each])

    def test_newer_extension(self) -> None:
        """So is one that is newer than the installed xds-protos, and one of Envoy's contrib build;
        neither is called unknown.
        """
        for name, reason in (
            ("geoip.v3.Geoip", "it looks for the countries of clients"),
            ("sip_proxy.v3alpha.SipProxy", "it answers clients in SIP"),
        ):
            filter_text = f"""
      - name: first
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.{name}"""
            self.assertIn(
                "12:20: static_resources.listeners[0].filter_chains[0].filters[0].typed_config."
                f"@type: envoy.extensions.filters.network.{name}: {reason}",
                "\n".join(said(changed(("    - filters:", f"    - filters:{filter_text}")))),
            )

    def test_newer_field(self) -> None:
        """So is a field that is newer, in either spelling."""
        for name in (
            "per_connection_buffer_high_watermark_timeout",
            "perConnectionBufferHighWatermarkTimeout",
        ):
            (problem,) = said(changed(("type: STATIC", f"type: STATIC\n    {name}: 5s")))
            self.assertIn(
                ": static_resources.clusters[0].per_connection_buffer_high_watermark_timeout: "
                "Envoy knows this field, tcpmesh does not support it yet",
                problem,
            )

    def test_broken_extension(self) -> None:
        """An extension of another package whose module cannot be imported is an error at its @type,
        whatever is allowed.
        """
        name = "envoy.extensions.filters.network.dubbo_proxy.v3.DubboProxy"
        entry = EntryPoint(name, "tests_of_tcpmesh_nothing_here", types.EXTENSION_GROUP)
        self.patch(types, "entry_points", lambda group: [entry])
        text = changed(
            ("tcp_proxy.v3.TcpProxy", "dubbo_proxy.v3.DubboProxy"),
            ("          cluster: web\n          idle_timeout: 5s\n", ""),
        )
        expected = (
            f"the module 'tests_of_tcpmesh_nothing_here', which is to handle {name}, "
            f"cannot be imported: ModuleNotFoundError"
        )
        self.assertEqual(1, len(said(text)))
        self.assertIn(
            "12:20: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.@type: "
            f"{expected}",
            said(text)[0],
        )
        self.assertRaises(ConfigError, load_text, text, allow_unsupported=True)

    def test_packages(self) -> None:
        """Which packages there are is looked at once for a configuration, and anew for the next."""
        looked: list[str] = []

        def entry_points(group: str) -> list[EntryPoint]:
            looked.append(group)
            return []

        self.patch(types, "entry_points", entry_points)
        for count in (1, 2):
            load_text(GOOD)
            for _ in range(10):
                types.is_foreign("envoy.extensions.filters.network.dubbo_proxy.v3.DubboProxy")
            self.assertEqual(count, len(looked))

    def test_no_effect(self) -> None:
        """What has no effect is accepted without a word."""
        self.assertEqual(
            [],
            warned(changed(("  - name: front", "  - name: front\n    traffic_direction: INBOUND"))),
        )

    def test_reason(self) -> None:
        """A field that cannot be supported is an error that says why."""
        socket = (
            "transport_socket: {name: tls, typed_config: {'@type': "
            "a/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: "
            "{custom_handshaker: {name: x}}}}"
        )
        found = said(changed(("type: STATIC", f"type: STATIC\n    {socket}")))
        expected = "tcpmesh does not support it yet: the handshake is OpenSSL's own"
        self.assertTrue(any(expected in line for line in found), found)

    def test_allow_unsupported(self) -> None:
        """Those who migrate get warnings instead."""
        loaded = load_text(
            changed(("type: STATIC", "lrs_server: {self: {}}")), allow_unsupported=True
        )

        self.assertEqual(1, len(loaded.warnings))


class TableTests(SynchronousTestCase):
    """The table itself."""

    def test_every_row_is_a_field(self) -> None:
        """Every row names a field of a message type that exists."""
        for full_name, rows in TABLE.items():
            self.assertLessEqual(set(rows), set(find_type(full_name).fields_by_name), full_name)

    def test_closed(self) -> None:
        """The type of every supported message field has rows of its own, but of those that are
        taken whole.
        """
        for full_name, rows in TABLE.items():
            for name, row in rows.items():
                inner = content_name_of(find_type(full_name).fields_by_name[name])
                is_plain = not inner or inner.startswith("google.protobuf.")
                is_read = row.level not in ("no effect", "not supported")
                if is_read and not row.is_whole and not is_plain:
                    self.assertIn(inner, TABLE, f"{full_name}.{name}")

    def test_values_exist(self) -> None:
        """Every supported value of an enum is one of its names."""
        for full_name, rows in TABLE.items():
            for name, row in rows.items():
                enum = find_type(full_name).fields_by_name[name].enum_type
                if row.values and enum is not None:
                    self.assertLessEqual(
                        set(row.values), set(enum.values_by_name), f"{full_name}.{name}"
                    )

    def test_every_supported_field_is_read(self) -> None:
        """No field is called supported that no code reads which acts on it."""
        acting = (
            "headers.py",
            "parts.py",
            "spiffe.py",
            "strings.py",
            "token_buckets.py",
            "value_matcher.py",
            "values.py",
        )
        files = [
            path
            for path in (HOME / "tcpmesh").rglob("*.py")
            if "config" not in path.parts or (path.name in acting and path.parent.name != "support")
        ]
        words = set(re.findall(r"\w+", "\n".join(path.read_text() for path in files)))
        unread = [
            f"{full_name}.{name}"
            for full_name, rows in TABLE.items()
            for name, row in rows.items()
            if row.level == "supported" and not row.values and name not in words
        ]

        self.assertEqual([], unread)

    def test_every_extension_has_a_module(self) -> None:
        """Every supported extension that does something is a module where its :type says."""
        for full_name in EXTENSIONS:
            path = HOME.joinpath(*registry._own_module(full_name).split("."))
            is_there = path.is_dir() or path.with_suffix(".py").exists()
            self.assertTrue(is_there or not EXTENSIONS[full_name], full_name)


class DocumentTests(SynchronousTestCase):
    """docs/supported.md."""

    def test_up_to_date(self) -> None:
        """The page is what `python -m tcpmesh.config.support.page` writes; an installed schema that
        is newer than Envoy's may only have more that is not supported.
        """
        written = (HOME / "docs" / "supported.md").read_text()

        self.assertEqual(self.lines(supported.page()), self.lines(written))
        self.assertLessEqual(self.missing(written), self.missing(supported.page()))

    def lines(self, page: str) -> list[str]:
        """The lines of the page, without those that follow the installed schema."""
        return [line for line in page.splitlines() if not line.startswith(NOT_SUPPORTED)]

    def missing(self, page: str) -> set[tuple[str, str]]:
        """What is not supported: each field with its message type."""
        sections = page.split("\n## ")[1:]
        return {
            (section.split("\n")[0], name)
            for section in sections
            for line in section.splitlines()
            if line.startswith(NOT_SUPPORTED)
            for name in re.findall(r"`(\w+)`", line)
        }

    def test_says_all(self) -> None:
        """The page has every message type and every field of the table, and those that are not
        supported.
        """
        page = supported.page()

        for full_name, rows in TABLE.items():
            self.assertIn(full_name, page)
            for name in rows:
                self.assertIn(f"`{name}`", page)
        self.assertIn("`health_checks`", page)
