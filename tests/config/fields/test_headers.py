"""Header fields that configurations add."""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import HeaderValueOption

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields.headers import Fields, with_headers
from tests.mesh import parse

THERE: Fields = [("host", "h"), ("a", "1"), ("a", "2"), ("user-agent", "u")]


def with_one(key: str, value: str, action: str = "", more: str = "") -> Fields:
    """The fields with one more."""
    action = f", append_action: {action}" if action else ""
    option = parse(HeaderValueOption, f"{{header: {{key: {key}}}{action}{more}}}")
    return with_headers(THERE, [(option, value)])


class WithHeaderTests(SynchronousTestCase):
    """What becomes of the fields that are there."""

    def test_actions(self) -> None:
        """A field is appended, added where there is none, or takes the place of all of its name;
        names are in lower case.
        """
        others = [THERE[0], THERE[3]]
        for action, for_known, for_unknown in (
            ("", [*THERE, ("a", "x")], [*THERE, ("b", "x")]),
            ("APPEND_IF_EXISTS_OR_ADD", [*THERE, ("a", "x")], [*THERE, ("b", "x")]),
            ("ADD_IF_ABSENT", THERE, [*THERE, ("b", "x")]),
            ("OVERWRITE_IF_EXISTS_OR_ADD", [*others, ("a", "x")], [*THERE, ("b", "x")]),
            ("OVERWRITE_IF_EXISTS", [*others, ("a", "x")], THERE),
        ):
            self.assertEqual(for_known, with_one("A", "x", action), action)
            self.assertEqual(for_unknown, with_one("B", "x", action), action)

    def test_user_agent(self) -> None:
        """A second user-agent joins the first."""
        self.assertEqual([*THERE[:3], ("user-agent", "u,x")], with_one("user-agent", "x"))

    def test_empty(self) -> None:
        """An empty value is left out, unless it is to be kept."""
        self.assertEqual(THERE, with_one("b", ""))
        self.assertEqual([*THERE, ("b", "")], with_one("b", "", more=", keep_empty_value: true"))

    def test_line_ends(self) -> None:
        """What would end a field, as a variable may hold it, is a blank."""
        self.assertEqual(("b", "x  y z"), with_one("b", "x\r\ny\0z")[-1])

    def test_several(self) -> None:
        """What takes the place of others comes first, and what is there is what was there before
        all of them.
        """
        options = [
            parse(HeaderValueOption, f"{{header: {{key: {key}}}, append_action: {action}}}")
            for key, action in (
                ("b", "ADD_IF_ABSENT"),
                ("b", "ADD_IF_ABSENT"),
                ("c", "OVERWRITE_IF_EXISTS"),
                ("c", "OVERWRITE_IF_EXISTS_OR_ADD"),
                ("c", "OVERWRITE_IF_EXISTS_OR_ADD"),
            )
        ]
        found = with_headers(THERE, [(each, str(i)) for i, each in enumerate(options)])
        self.assertEqual([("c", "4"), ("b", "0"), ("b", "1")], found[len(THERE) :])

    def test_append(self) -> None:
        """The `append` of old times says whether a field is appended or takes the place of
        others.
        """
        self.assertEqual([*THERE, ("a", "x")], with_one("a", "x", more=", append: true"))
        self.assertEqual(
            [THERE[0], THERE[3], ("a", "x")], with_one("a", "x", more=", append: false")
        )
