"""Checks of what tunnels are asked for with."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import changed, judged, said

_ID = "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"


def text(config: str) -> str:
    """The good bootstrap with this `tunneling_config` of its tcp_proxy."""
    line = "          cluster: web\n"
    return changed((line, f"{line}          tunneling_config: {config}\n"))


class TunnellingTests(SynchronousTestCase):
    """What Envoy refuses is an error at its line."""

    def test_right(self) -> None:
        """What Envoy takes loads."""
        for config in (
            "{hostname: 'a:1'}",
            "{hostname: '%REQUESTED_SERVER_NAME%:1', use_post: true, post_path: '/p'}",
            "{hostname: a, use_post: true, propagate_response_trailers: true}",
            "{hostname: a, headers_to_add: [{header: {key: x, value: '%PROTOCOL% %%'}}]}",
            "{hostname: a, headers_to_add: [{header: {key: x, value: a}, append: true}]}",
            f"{{hostname: a, request_id_extension: {{typed_config: {{'@type': {_ID}}}}}}}",
            "{hostname: a, request_id_extension: {}, request_id_header: x}",
        ):
            self.assertEqual([], [each for each in said(text(config)) if "append" not in each])

    def test_wrong(self) -> None:
        """Each mistake is told, with the field that has it."""
        added = "headers_to_add: [{header: {key: '%s', value: '%s'}%s}]"
        both = added % ("x", "y", ", append: true, append_action: ADD_IF_ABSENT")
        for config, field, words in (
            ("{}", "tunneling_config", "hostname"),
            ("{hostname: ''}", "hostname", ""),
            ("{hostname: '%NOPE%'}", "hostname", "there is no operator NOPE"),
            ("{hostname: 'a%b'}", "hostname", "at character 1"),
            ("{hostname: a, post_path: /p}", "post_path", "only where use_post is true"),
            (f"{{hostname: a, {added % ('Host', 'x', '')}}}", "key", "cannot be set here"),
            (f"{{hostname: a, {added % (':path', 'x', '')}}}", "key", "cannot be set here"),
            (f"{{hostname: a, {added % ('x', '%NOPE%', '')}}}", "value", "no operator NOPE"),
            (f"{{hostname: a, {both}}}", "append", "exclude each other"),
            (
                "{hostname: a, request_id_extension: {typed_config: {'@type': "
                "type.googleapis.com/google.protobuf.Struct, value: {}}}}",
                "@type",
                "is no request_id_extension",
            ),
            (
                "{hostname: a, formatters: [{name: f, typed_config: {'@type': "
                "type.googleapis.com/google.protobuf.Struct, value: {}}}]}",
                "@type",
                "is no formatter",
            ),
        ):
            found = judged(text(config))
            self.assertTrue([each for each in found if field in each and words in each], found)
