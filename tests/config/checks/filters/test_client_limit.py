"""What is said of limits of each client before anything is started."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tests.config.texts import GOOD, problems_of

TYPE = "type.googleapis.com/tcpmesh.extensions.filters.network.client_limit.v1.ClientLimit"


def with_limit(fields: str, type_name: str = TYPE) -> str:
    """A bootstrap with such a filter, whose fields begin at line 13."""
    limit = (
        "      - name: limit\n        typed_config:\n"
        f'          "@type": {type_name}\n          {fields}\n'
    )
    return GOOD.replace("      - name: proxy\n", limit + "      - name: proxy\n")


class ClientLimitTests(SynchronousTestCase):
    """Each problem has the place of its field."""

    def warned(self, *lines: str) -> list[str]:
        """What is warned of these fields, each on a line of its own."""
        text = with_limit("\n          ".join(("stat_prefix: p", *lines)))
        return [f"{each.place.line} {each.text}" for each in load(config_yaml=text).warnings]

    def refused(self, *lines: str) -> list[str]:
        """What is wrong with them."""
        text = with_limit("\n          ".join(("stat_prefix: p", *lines)))
        return [f"{each.place.line} {each.text}" for each in problems_of(text)]

    def test_right(self) -> None:
        """A limit that is right is served as it is, in either spelling."""
        self.assertEqual([], self.warned("max_connections: 3", "exempt: [{address_prefix: '::1'}]"))
        self.assertEqual([], self.warned("maxConnections: 3", "overLimit: QUEUE", "max_wait: 1s"))

    def test_no_effect(self) -> None:
        """Fields of which nothing comes are warned of."""
        self.assertEqual(
            ["11 neither max_connections nor new_connections is set: nobody is limited"],
            self.warned("over_limit: RESET"),
        )
        self.assertEqual(
            [
                "15 it has an effect with QUEUE only",
                "16 it has an effect with QUEUE only",
                "18 it has an effect where clients are addresses only",
            ],
            self.warned(
                "max_connections: 1",
                "max_wait: 1s",
                "max_waiting: 1",
                "client: SERVER_NAME",
                "ipv4_prefix_len: 24",
            ),
        )

    def test_wrong(self) -> None:
        """Values that cannot be are errors."""
        self.assertEqual(
            ["14 a client could never connect"],
            self.refused("new_connections: {max_tokens: 0, fill_interval: 1s}"),
        )
        self.assertEqual(
            ["15 malformed IP address: 'here'"],
            self.refused("max_connections: 1", "exempt: [{address_prefix: here}]"),
        )
        for field in ("max_connections: 0", "ipv4_prefix_len: 33", "max_wait: 0s", "client: 7"):
            self.assertEqual(["14"], [each[:2] for each in self.refused(field)][:1], field)

    def test_unknown_type(self) -> None:
        """A name of our own that is spelled wrong is told apart from what is right."""
        (problem,) = problems_of(with_limit("stat_prefix: p", f"{TYPE}s"))
        self.assertIn("unknown type", problem.text)
        self.assertIn(TYPE.rpartition("/")[2], problem.hint)

    def test_place(self) -> None:
        """It is no listener filter."""
        text = GOOD.replace(
            "    filter_chains:\n",
            "    listener_filters:\n"
            f"    - {{name: l, typed_config: {{'@type': {TYPE}, stat_prefix: p}}}}\n"
            "    filter_chains:\n",
        )
        self.assertIn("is no listener filter", problems_of(text)[0].text)

    def test_last(self) -> None:
        """A chain cannot end with it."""
        text = with_limit("stat_prefix: p\n          max_connections: 3")
        start, end = text.index("      - name: proxy"), text.index("  clusters:")
        (problem,) = problems_of(text[:start] + text[end:])
        self.assertIn("is the last of its chain", problem.text)
