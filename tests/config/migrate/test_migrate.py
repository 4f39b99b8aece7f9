"""Old configurations become new ones: the cases in `cases/`, each with what it becomes."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.messages.reading import Reading
from tcpmesh.config.migrate import Migration, migrate
from tcpmesh.config.text.json_text import parse_json
from tcpmesh.config.text.yaml_text import parse_yaml
from tests.config.texts import GOOD

CASES = Path(__file__).parent / "cases"
OLD = {path.name.replace(".old", ""): path.read_text() for path in sorted(CASES.glob("*.old.*"))}
NEW = {path.name.replace(".new", ""): path.read_text() for path in sorted(CASES.glob("*.new.*"))}

COMMENT = re.compile(r"(?:^|(?<=\s))#[^\n]*", re.MULTILINE)


def cluster(fields: str) -> str:
    """A bootstrap with one cluster that has these fields."""
    lines = "".join(f"    {line}\n" for line in fields.splitlines())
    return f"static_resources:\n  clusters:\n  - name: a\n    connect_timeout: 1s\n{lines}"


def sentences(done: Migration) -> list[str]:
    """What is left for a person."""
    return [problem.text for problem in done.problems]


class CaseTests(SynchronousTestCase):
    """Whole files."""

    maxDiff = None

    def test_texts(self) -> None:
        """Each old file becomes the new one beside it, to the byte."""
        self.assertEqual(OLD.keys(), NEW.keys())
        for name, text in OLD.items():
            self.assertEqual(NEW[name], migrate(text, name).text, name)

    def test_new_files_are_left_alone(self) -> None:
        """What came of a migration is not changed by another, nor is any file that is v3."""
        for name, text in [*NEW.items(), ("good.yaml", GOOD)]:
            self.assertEqual(Migration(text), migrate(text, name), name)

    def test_new_files_are_v3(self) -> None:
        """Every field of a new file is one of the v3 schema, and every type is known."""
        for name, text in NEW.items():
            if name.startswith("manifest"):
                continue
            parse = parse_json if name.endswith("json") else parse_yaml
            reading = Reading(parse(text, name))
            message: Any = DiscoveryResponse() if "resources" in name else Bootstrap()
            reading.into(message)
            self.assertEqual([], [str(problem) for problem in reading.problems])

    def test_comments_survive(self) -> None:
        """Every comment of an old file is in the new one."""
        for name, text in OLD.items():
            if name.endswith("json"):
                continue
            new = NEW[name]
            for comment in COMMENT.findall(text):
                self.assertEqual(text.count(comment), new.count(comment), (name, comment))

    def test_told(self) -> None:
        """What is changed in each old file is told as `told.txt` has it, with the line where it
        stands or has to do with.
        """
        told = [f"{name}:{each}" for name in OLD for each in migrate(OLD[name], name).changes]
        self.assertEqual((CASES / "told.txt").read_text().splitlines(), told)
        self.assertEqual([], [line for line in told if ":0: " in line])

    def test_alias_of_names(self) -> None:
        """Names that an alias stands for become matchers once, where they are written."""
        one = (
            "tls_context: {common_tls_context: {validation_context: {verify_subject_alt_name: %s}}}"
        )
        old = cluster(one % "&n [x]") + "".join(
            f"  {line}\n" for line in ("- name: b", "  connect_timeout: 1s", f"  {one % '*n'}")
        )
        done = migrate(old, "x.yaml")
        for text in ("match_subject_alt_names: &n [{exact: x}]", "match_subject_alt_names: *n}"):
            self.assertEqual(1, done.text.count(text), done.text)
        self.assertEqual((), done.problems)

    def test_typed_struct(self) -> None:
        """What a TypedStruct stands for is brought up to date in it, also where its type has no
        host; what is written twice is said.
        """
        old = """\
static_resources:
  listeners:
  - filter_chains:
    - filters:
      - typed_config:
          "@type": type.googleapis.com/udpa.type.v1.TypedStruct
          type_url: envoy.config.filter.network.tcp_proxy.v2.TcpProxy
          value:
            stat_prefix: a
            stat_prefix: b
            deprecated_v1: {routes: [{cluster: c}]}
"""
        done = migrate(old, "x.yaml")
        new = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
        self.assertIn(f"\n          type_url: type.googleapis.com/{new}\n", done.text)
        self.assertIn("\n            cluster: c\n", done.text)
        self.assertEqual([7, 9, 11], [change.line for change in done.changes])
        self.assertIn("only that counts", done.changes[1].text)
        self.assertEqual((), done.problems)

    def test_lines(self) -> None:
        """Each change is told with the line of the old file, in order, and its path."""
        lines = OLD["tcp.yaml"].splitlines()
        changes = migrate(OLD["tcp.yaml"], "tcp.yaml").changes

        self.assertEqual(sorted(changes, key=lambda change: change.line), list(changes))
        told = {change.path: (change.text, lines[change.line - 1].strip()) for change in changes}
        self.assertEqual(
            ("'hosts' becomes load_assignment", "hosts:"),
            told["static_resources.clusters[0].hosts"],
        )
        self.assertEqual(
            "config:",
            told["static_resources.listeners[0].filter_chains[0].filters[0].typed_config"][1],
        )

    def test_lines_of_a_manifest(self) -> None:
        """Inside of a manifest lines are those of the manifest."""
        lines = OLD["manifest.yaml"].splitlines()
        changes = migrate(OLD["manifest.yaml"], "manifest.yaml").changes

        self.assertEqual(
            ["hosts:", "access_log_path: /dev/null"],
            [lines[change.line - 1].strip() for change in changes],
        )
        self.assertTrue(changes[0].path.startswith('data["envoy.yaml"].static_resources'))


class DeprecatedTests(SynchronousTestCase):
    """What Envoy takes still, but asks not to write."""

    def test_alone(self) -> None:
        """A file that has only deprecated fields is left as it is."""
        text = cluster("http2_protocol_options: {}\ntype: STATIC")

        self.assertEqual(Migration(text), migrate(text, "a.yaml"))

    def test_with_others(self) -> None:
        """In a file that has to change they are replaced as well."""
        text = cluster("http2_protocol_options: {}\nhosts: []")

        self.assertNotIn("    http2_protocol_options", migrate(text, "a.yaml").text.splitlines())


class LeftTests(SynchronousTestCase):
    """What a person has to decide."""

    def test_line(self) -> None:
        """What is left is a problem with the line and what to do, and is not changed."""
        text = cluster("hosts: []\nload_assignment: {cluster_name: a}")
        done = migrate(text, "a.yaml")

        self.assertEqual((text, ()), (done.text, done.changes))
        self.assertEqual(
            "a.yaml:5:1: static_resources.clusters[0].hosts: both 'hosts' and 'load_assignment' "
            "are written (keep one of them)",
            str(done.problems[0]),
        )

    def test_gone(self) -> None:
        """An extension, a field or a value that Envoy no longer has is named."""
        for fields, told in {
            "lb_subset_config: {fallback_policy: A}": [],
            "transport_socket: {name: mine, config: {}}": [
                "nobody knows which type configures 'mine'"
            ],
            "tls_context: [1]": ["expected a mapping here, not a list"],
            "extension_protocol_options: {mine: {}}": [
                "nobody knows which type configures 'mine' here"
            ],
        }.items():
            self.assertEqual(told, sentences(migrate(cluster(fields), "a.yaml")), fields)

    def test_filter_that_is_gone(self) -> None:
        """A filter that protected something is no comment: somebody has to replace it."""
        listener = (
            "static_resources:\n  listeners:\n  - filter_chains:\n    - filters:\n"
            "      - name: envoy.client_ssl_auth\n        config: {stat_prefix: a}\n"
        )

        self.assertEqual(
            ["Envoy no longer has envoy.filters.network.client_ssl_auth"],
            sentences(migrate(listener, "a.yaml")),
        )

    def test_routes(self) -> None:
        """Routes by address inside of tcp_proxy are told what matches them now."""
        text = (
            "static_resources:\n  listeners:\n  - filter_chains:\n    - filters:\n"
            "      - name: envoy.tcp_proxy\n        config:\n          stat_prefix: a\n"
            "          deprecated_v1:\n            routes:\n"
            "            - {cluster: a, source_ip_list: [10.0.0.0/8]}\n"
        )
        done = migrate(text, "a.yaml")

        self.assertIn("filter chain", done.problems[0].hint)
        self.assertEqual(8, done.problems[0].place.line)

    def test_one_block_for_two_things(self) -> None:
        """An anchored block whose two uses are written differently now is not guessed at."""
        text = (
            "static_resources:\n  listeners:\n  - filter_chains:\n    - tls_context: &tls {}\n"
            "  clusters:\n  - {name: a, connect_timeout: 1s, tls_context: *tls}\n"
        )

        self.assertIn("one anchored block", sentences(migrate(text, "a.yaml"))[0])

    def test_both_fields(self) -> None:
        """Where an old field and the one that it becomes are both written, a person has to say
        which one counts.
        """
        check = "health_checks: [{http_health_check: {path: /, %s}}]"
        for fields, name in (
            ("service_name: a, service_name_matcher: {prefix: b}", "service_name_matcher"),
            ("use_http2: true, codec_client_type: HTTP1", "codec_client_type"),
        ):
            done = migrate(cluster(check % fields), "a.yaml")
            text = f"{name!r} is written twice now, for an old field became it"
            self.assertEqual([text], sentences(done))
            self.assertEqual(5, done.problems[0].place.line)

    def test_no_yaml(self) -> None:
        """A text that cannot be read is not changed, and the reason is told."""
        for name in ("a.yaml", "a.json"):
            done = migrate("a: [", name)
            self.assertEqual(("a: [", ()), (done.text, done.changes))
            self.assertEqual(1, len(done.problems))


class CommentTests(SynchronousTestCase):
    """Comments in unusual places."""

    def test_before_the_value(self) -> None:
        """A comment between a key and its value stays, in either style, and beside an anchor."""
        for text in (
            cluster("tls_context: # why\n  # more\n  sni: a"),
            cluster("tls_context: # why\n  # more\n  &a\n  sni: a"),
            cluster("tls_context: &a # why\n  # more\n  sni: a"),
            "static_resources: {clusters: [{name: a, tls_context: # why\n  # more\n  {sni: a}}]}",
        ):
            done = migrate(text, "a.yaml")
            self.assertEqual((), done.problems, text)
            self.assertIn("UpstreamTlsContext", done.text)
            for comment in ("# why", "# more"):
                self.assertEqual(1, done.text.count(comment), done.text)

    def test_last_of_all(self) -> None:
        """Comments of a field that is taken out at the end of a file stand where it stood, at its
        column; the last of those inside it stays further in.
        """
        text = (
            "static_resources: {}\n"
            "rate_limit_service: # a\n"
            "  # b\n"
            "  grpc_service: {envoy_grpc: {cluster_name: r}} # c\n"
            "  # d\n"
            "# e\n"
        )
        self.assertEqual(
            "static_resources: {}\n# a\n# b # c\n  # d\n# e\n", migrate(text, "a.yaml").text
        )

    def test_last_of_a_mapping(self) -> None:
        """... and at the column of a field that is further in, behind the remark of the field
        before.
        """
        head = (
            "dynamic_resources:\n"
            "  cds_config:\n"
            "    resource_api_version: V3\n"
            "    api_config_source:\n"
            "      api_type: GRPC\n"
            "      transport_api_version: V3\n"
            "      grpc_services: [{envoy_grpc: {cluster_name: a}}] # a\n"
        )
        text = f"{head}      # b\n      cluster_names: [b] # c\n      # d\n"
        self.assertEqual(f"{head}      # b # c\n      # d\n", migrate(text, "a.yaml").text)

    def test_behind_what_is_closed(self) -> None:
        """Comments behind nested values each stay with the one that they are indented as, the first
        of them in the line of a value.
        """
        text = (
            "static_resources:\n"
            "  clusters:\n"
            "  - name: a # 1\n"
            "    connect_timeout: 1s # 2\n"
            "    # 3\n"
            "  # 4\n"
            "# 5\n"
            "admin:\n"
            "  access_log_path: /a # 6\n"
            "# 7\n"
        )
        new = migrate(text, "a.yaml").text
        head = text[: text.index("admin:")]
        self.assertEqual(head, new[: new.index("admin:")])
        self.assertEqual(1, new.count("# 6"))
        self.assertTrue(new.endswith("# 7\n"), new)


class FlowTests(SynchronousTestCase):
    """Entries in flow style that Envoy dropped."""

    def test_taken_out(self) -> None:
        """They leave no comment, and are told as taken out."""
        texts = (
            "tracing: {http: {name: envoy.lightstep}}",
            "static_resources: {listeners: [{filter_chains: [{filters: "
            "[{name: envoy.http_connection_manager, config: {stat_prefix: a, "
            "http_filters: [{name: envoy.http_dynamo_filter}, {name: envoy.router}]}}]}]}]}",
        )
        for text in texts:
            done = migrate(text, "a.yaml")
            told = [each.text for each in done.changes if "no longer has" in each.text]
            self.assertEqual(["it is taken out"], [each.partition(": ")[2] for each in told])
            self.assertNotIn("#", done.text)


class NullTests(SynchronousTestCase):
    """Fields without a value."""

    def test_null(self) -> None:
        """A field that nothing is written in gets its value behind a blank."""
        text = (
            "dynamic_resources:\n  cds_config:\n    api_config_source:\n      api_type:\n"
            "      cluster_names: [a]\n"
        )

        self.assertIn("      api_type: REST\n", migrate(text, "a.yaml").text)


class CommaTests(SynchronousTestCase):
    """Commas of the flow style."""

    def test_only_entry(self) -> None:
        """A comma behind the only entry goes with that."""
        text = (
            "static_resources: {listeners: [{filter_chains: [{use_proxy_proto: true,}, ]}],\n"
            "  clusters: [{name: a, hosts: [{pipe: {path: /a}},],}]}\n"
        )
        done = migrate(text, "a.yaml")

        self.assertEqual((), done.problems)
        self.assertIn("filter_chains: [{}, ]", done.text)
        self.assertIn("lb_endpoints: [{endpoint: {address: {pipe: {path: /a}}}},]", done.text)


class DuplicateTests(SynchronousTestCase):
    """Keys that are written twice."""

    def test_shadowed(self) -> None:
        """The one that does not count becomes a comment."""
        text = cluster("hosts: [{pipe: {path: /a}}]\nhosts: [{pipe: {path: /b}}]")
        done = migrate(text, "a.yaml")

        self.assertIn("# hosts: [{pipe: {path: /a}}]", done.text)
        self.assertIn("lb_endpoints: [{endpoint: {address: {pipe: {path: /b}}}}]", done.text)


def mutated(text: str, seed: int) -> str:
    """A text in which lines are missing, twice, elsewhere or cut."""
    chance = random.Random(seed)
    lines = text.split("\n")
    for _ in range(chance.randrange(1, 4)):
        at, to = chance.randrange(len(lines)), chance.randrange(len(lines))
        act = chance.randrange(9)
        if act == 0:
            del lines[at]
            lines = lines or [""]
        elif act == 1:
            lines.insert(to, lines[at])
        elif act == 2:
            lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
        elif act == 3:
            lines[at] += "  # a remark"
        elif act == 4:
            lines[at] = lines[at].replace(": ", chance.choice((": &a ", ": *a ", ": [", ": ''")), 1)
        elif act == 5:
            lines[at], lines[to] = lines[to], lines[at]
        elif act == 6:
            lines.insert(at, " " * chance.randrange(20) + "# a line of its own")
        elif act == 7:
            lines[at] = " " * chance.randrange(3) + lines[at]
        else:
            lines[at] = lines[at].replace(", ", chance.choice((",\n ", ", # x\n    ", ",")), 1)
    return "\n".join(lines)


class HostileTests(SynchronousTestCase):
    """Whatever the text."""

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(sorted(OLD)), st.integers(0, 2**32))
    def test_mutated(self, name: str, seed: int) -> None:
        """A damaged file is migrated or told what is wrong with it, keeps its comments, and
        what came of it is migrated no further.
        """
        text = mutated(OLD[name], seed)
        done = migrate(text, name)

        again = migrate(done.text, name)
        self.assertEqual((done.text, ()), (again.text, again.changes))
        if done.changes and not name.endswith("json"):
            for comment in COMMENT.findall(text):
                self.assertIn(comment.strip(), done.text)

    @settings(max_examples=200, deadline=None)
    @given(st.text(st.sampled_from("ab:-[]{}#&*|>'\"\\ \n\t,?!%"), max_size=60))
    def test_any_text(self, text: str) -> None:
        """No text makes it fail."""
        for name in ("a.yaml", "a.json"):
            migrate(text, name)
            migrate(f"static_resources:\n  clusters:\n{text}", name)

    def test_deep(self) -> None:
        """A file nested as deep as Envoy allows is migrated."""
        text = "node:\n  metadata: " + "{a: " * 90 + "1" + "}" * 90 + "\n  build_version: a\n"

        self.assertIn("user_agent_version: a", migrate(text, "a.yaml").text)
