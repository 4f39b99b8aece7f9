"""What a configuration adds to each record for a collector."""

from __future__ import annotations

from envoy.type.tracing.v3 import custom_tag_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.collectors.custom_tags import CustomTags
from tcpmesh.config.fields.operators import FormatError
from tests.accesslog.collectors.connections import LATER, served
from tests.mesh import parse

TAGS = """
- {tag: literal, literal: {value: v}}
- {tag: set, environment: {name: SET, default_value: d}}
- {tag: unset, environment: {name: UNSET, default_value: d}}
- {tag: neither, environment: {name: UNSET}}
- {tag: header, request_header: {name: x, default_value: h}}
- {tag: no header, request_header: {name: x}}
- {tag: known, metadata: {metadata_key: {key: ns, path: [{key: a}]}, default_value: md}}
- {tag: unknown, metadata: {metadata_key: {key: ns, path: [{key: b}]}, default_value: md}}
- {tag: none, metadata: {metadata_key: {key: ns, path: [{key: b}]}}}
- {tag: format, value: "x-%CONNECTION_ID%-%PROTOCOL%"}
"""


class CustomTagsTests(SynchronousTestCase):
    """Each kind of tag."""

    def test_each_kind(self) -> None:
        """Values come from where the configuration says, or else are the default; what is empty is
        left out, as in Envoy.
        """
        messages = [parse(custom_tag_pb2.CustomTag, f"{{{line[3:-1]}}}") for line in _lines()]
        info = served()
        info.metadata = {"ns": {"a": "found"}}
        tags = CustomTags(messages, {"SET": "e"})
        self.assertEqual(
            dict(tags.of(info, LATER)),
            {
                "literal": "v",
                "set": "e",
                "unset": "d",
                "header": "h",
                "known": "found",
                "unknown": "md",
                "format": "x-7-",
            },
        )

    def test_bytes_that_are_no_utf_8(self) -> None:
        """What protobuf would not take is shown by exclamation marks."""
        tag = custom_tag_pb2.CustomTag(tag="t")
        tag.metadata.metadata_key.key = "ns"
        tag.metadata.metadata_key.path.add().key = "a"
        info = served()
        info.metadata = {"ns": {"a": "x\udcff"}}
        self.assertEqual(CustomTags([tag], {}).of(info, LATER), [("t", "x!")])

    def test_a_wrong_format(self) -> None:
        """A format that Envoy refuses is refused."""
        tag = custom_tag_pb2.CustomTag(tag="t", value="%NOPE%")
        self.assertRaises(FormatError, CustomTags, [tag], {})


def _lines() -> list[str]:
    return TAGS.strip().splitlines()
