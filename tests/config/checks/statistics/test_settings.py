"""What Envoy demands of `stats_config`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import GOOD, judged, said, warned


def tags(*texts: str) -> str:
    """The good bootstrap with these tags."""
    return f"{GOOD}stats_config: {{stats_tags: [{', '.join(texts)}]}}\n"


class TagTests(SynchronousTestCase):
    """Tags of one's own."""

    def test_accepted(self) -> None:
        """Names may be given twice, default ones need no expression, and a fixed tag no name."""
        for text in (
            "{tag_name: a, regex: 'x(y)'}",
            "{tag_name: a, regex: '(?=x)(y)'}",
            "{tag_name: a, fixed_value: b}, {tag_name: a, fixed_value: c}",
            "{tag_name: a, fixed_value: ''}",
            "{fixed_value: b}",
            "{tag_name: envoy.cluster_name}",
            "{tag_name: envoy.dynamo_table}",
        ):
            self.assertEqual([], said(tags(text)), text)

    def test_refused(self) -> None:
        """An expression has to be one, and a tag that it finds has a name."""
        for text, reason in (
            ("{tag_name: a}", "it has no regex, and Envoy has none of its own for a tag 'a'"),
            ("{tag_name: a, regex: ''}", "it has no regex"),
            ("{tag_name: a, regex: 'x('}", "no regular expression of ECMAScript"),
            ("{regex: '(a)'}", "a tag that a regex finds has a name"),
            ("{tag_name: envoy.endpoint_address}", "it has no regex"),
        ):
            (line,) = judged(tags(text))
            self.assertIn(reason, line)
            self.assertIn("stats_config.stats_tags[0]", line)

    def test_no_group(self) -> None:
        """An expression that cannot find anything is surely not meant."""
        (line,) = warned(tags("{tag_name: a, regex: xy}"))
        self.assertIn("without a group this expression finds no tag", line)
