"""The dashboard and the rules of configs/observability, against what a running proxy is scraped
for.

That each name and each label is there is told by a parser of PromQL; what the expressions come to,
by Prometheus' own promtool, where that is installed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.troubled import Scrapes, troubled, well

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "observability"
RULES = FOLDER / "prometheus-rules.yaml"
DASHBOARD = FOLDER / "grafana-dashboard.json"

#: What Prometheus adds to whatever it scrapes.
ADDED = {"job": "proxies", "instance": "proxy:9901"}

#: What Grafana puts in place of its variables: all there is.
VARIABLES = {"$__rate_interval": "5m", "$instance": ".+", "$listener": ".+", "$cluster": ".+"}

MINUTES = 90
"""Of series: what the counters of a proxy grew by between two scrapes they grow by in so long."""

STAGED = {
    "EnvoyNotLive": {"envoy_server_live": f"0x{MINUTES}"},
    "EnvoyRestarting": {"envoy_server_uptime": "0 60 " * (MINUTES // 2)},
    "EnvoyStatFlushesDropped": {"envoy_server_dropped_stat_flushes": f"0+1x{MINUTES}"},
    "EnvoyReloadRefused": {"envoy_tcpmesh_reload_rejected": f"0+1x{MINUTES}"},
    "EnvoyCertificateEnds": {"envoy_server_days_until_first_cert_expiring": f"10x{MINUTES}"},
}
"""Alerts of what no test can wait for, and the values of series for each."""

Series = dict[str, str]


@cache
def scraped(kind: str) -> Scrapes:
    """What a proxy of this kind says; it runs once for all tests."""
    return {"well": well, "troubled": troubled}[kind]()


def samples(text: str) -> Iterator[tuple[str, str, float]]:
    """The samples of a scrape: the name, the labels as they are written, and the value."""
    for name, labels, value in re.findall(r"^(\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        yield name, labels, float(value)


def label_names(labels: str) -> list[str]:
    """The names of labels as they are written."""
    return re.findall(r'(\w+)="(?:[^"\\]|\\.)*"', labels)


def rules() -> list[dict[str, Any]]:
    """All rules, in order."""
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def shown() -> list[str]:
    """The expressions of the dashboard's panels, with values for its variables."""
    found = [
        target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())
    ]
    return [filled(text) for text in found]


def filled(text: str) -> str:
    """An expression as Grafana sends it."""
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    return text


def series_name(name: str, labels: str = "") -> str:
    """A series as Prometheus has it once it has scraped a sample."""
    added = ",".join(f'{key}="{text}"' for key, text in ADDED.items())
    return f"{name}{{{labels}{',' if labels else ''}{added}}}"


class Uses:
    """The metrics that an expression reads, each with the labels that it needs."""

    def __init__(self, text: str) -> None:
        self.labels: dict[str, set[str]] = {}
        self._around: list[set[str]] = []
        promql_parser.walk(promql_parser.parse(text), self._enter, self._leave)

    def _enter(self, node: Any) -> None:
        if isinstance(node, promql_parser.AggregateExpr):
            self._around.append(set(node.modifier.labels) if node.modifier else set())
        if isinstance(node, promql_parser.VectorSelector):
            needed = self.labels.setdefault(str(node.name), set())
            needed.update(matcher.name for matcher in node.matchers.matchers)
            needed.update(*self._around)

    def _leave(self, node: Any) -> None:
        if isinstance(node, promql_parser.AggregateExpr):
            self._around.pop()


class NameTests(SynchronousTestCase):
    """What is asked for is there."""

    def setUp(self) -> None:
        """The labels of each metric of a proxy, and of those that the rules record."""
        self.there: dict[str, set[str]] = {}
        for name, labels, _ in samples(scraped("troubled").after):
            self.there.setdefault(name, set(ADDED)).update(label_names(labels))
        for rule in rules():
            if "record" in rule:
                known = [self.there.get(name, set()) for name in Uses(rule["expr"]).labels]
                self.there[rule["record"]] = set().union(*known) - {"le"}

    def assert_there(self, text: str, more: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """Fail where an expression asks for a metric or a label that no proxy has."""
        for name, labels in Uses(text).labels.items():
            self.assertIn(name, self.there, text)
            self.assertEqual(set(), (labels | more) - self.there[name], f"{name} in {text}")

    def test_dashboard(self) -> None:
        """Every metric and label of the dashboard is one that a proxy has."""
        self.assertTrue(len(shown()) > 50)
        for text in shown():
            self.assert_there(text)
        for variable in dashboard()["templating"]["list"][1:]:
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            assert asked is not None
            self.assert_there(filled(asked[1]), {asked[2]})

    def test_rules(self) -> None:
        """Every metric and label of the rules is one that a proxy has, those that an alert's text
        names too.
        """
        for rule in rules():
            texts = " ".join(rule.get("annotations", {}).values())
            self.assert_there(rule["expr"], set(re.findall(r"\$labels\.(\w+)", texts)))

    def test_alerts_tell(self) -> None:
        """Every alert has a severity, says what is the matter, and what to do."""
        alerts = [rule for rule in rules() if "alert" in rule]
        self.assertEqual(
            len({rule["alert"] for rule in alerts}), len(alerts), "each name is there once"
        )
        for rule in alerts:
            self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"))
            self.assertEqual({"summary", "description", "action"}, set(rule["annotations"]))

    def test_panels(self) -> None:
        """Every panel has a title, a text and a place of its own on the dashboard."""
        panels = dashboard()["panels"]
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            place = panel["gridPos"]
            columns = range(place["x"], place["x"] + place["w"])
            own = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
            self.assertEqual(set(), own & taken, panel["title"])
            self.assertTrue(max(columns) < 24)
            taken |= own
            self.assertTrue(panel["type"] == "row" or panel["description"], panel["title"])
        self.assertEqual(len(panels), len({panel["id"] for panel in panels}))


class ValueTests(SynchronousTestCase):
    """What the expressions come to, by Prometheus itself."""

    def setUp(self) -> None:
        """Skip where it is not there."""
        found = shutil.which("promtool")
        if found is None:
            self.skipTest("needs promtool (package prometheus)")
        self.promtool = str(found)

    def series(self, kind: str) -> Series:
        """What a proxy of this kind says over `MINUTES`, by series."""
        made: Series = {}
        before = {(name, labels): value for name, labels, value in samples(scraped(kind).before)}
        for name, labels, value in samples(scraped(kind).after):
            first = before.get((name, labels), 0.0)
            step = (value - first) / MINUTES
            values = f"{first:f}+{step:f}x{MINUTES}" if step > 0 else f"{value:f}x{MINUTES}"
            made[series_name(name, labels)] = values
        return made

    def evaluated(self, series: Series, wanted: Mapping[str, int | None]) -> None:
        """Fail where an expression, some time later, has another value than the one that is wanted;
        `None` is for no value at all.
        """
        test = {
            "interval": "1m",
            "input_series": [{"series": name, "values": each} for name, each in series.items()],
            "promql_expr_test": [
                {
                    "expr": text,
                    "eval_time": f"{MINUTES - 5}m",
                    "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
                }
                for text, value in wanted.items()
            ],
        }
        file = Path(self.mktemp()).absolute()
        whole = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
        file.write_text(json.dumps(whole))
        ran = subprocess.run(
            [self.promtool, "test", "rules", str(file)], capture_output=True, text=True
        )
        self.assertEqual(0, ran.returncode, ran.stdout + ran.stderr)

    def firing(self, *names: str) -> dict[str, int | None]:
        """That these alerts fire, and no others."""
        return {
            f'clamp_max(count(ALERTS{{alertname="{name}",alertstate="firing"}}), 1)': (
                1 if name in names else None
            )
            for name in alert_names()
        }

    def test_rules_are_read(self) -> None:
        """Prometheus takes the rules."""
        command = [self.promtool, "check", "rules", str(RULES)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def test_page(self) -> None:
        """So it does the configuration that docs/statistics.md shows."""
        page = (FOLDER.parents[1] / "docs" / "statistics.md").read_text()
        shown = re.search(r"```yml\n(scrape_configs:.*?)```", page, re.DOTALL)
        assert shown is not None
        folder = Path(self.mktemp())
        folder.mkdir()
        shutil.copy(RULES, folder)
        (folder / "prometheus.yaml").write_text(shown[1])
        command = [self.promtool, "check", "config", str(folder / "prometheus.yaml")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def test_dashboard(self) -> None:
        """Every expression of the dashboard has a value."""
        wanted = {f"clamp_max(count({text}), 1)": 1 for text in shown()}
        self.evaluated(self.series("troubled"), wanted)

    def test_recorded(self) -> None:
        """Every recording rule records something."""
        names = [rule["record"] for rule in rules() if "record" in rule]
        wanted = {f"clamp_max(count({name}), 1)": 1 for name in names}
        self.evaluated(self.series("troubled"), wanted)

    def test_well(self) -> None:
        """No alert fires for a proxy that is well."""
        self.evaluated(self.series("well"), self.firing())

    def test_troubled(self) -> None:
        """For one that has all troubles every alert fires that a scrape can be had for."""
        there = set(alert_names()) - set(STAGED) - {"EnvoyAbsent"}
        self.evaluated(self.series("troubled"), self.firing(*there))

    def test_staged(self) -> None:
        """Each of the others fires, and none but it, where its series says so."""
        for name, values in STAGED.items():
            series = self.series("well")
            for metric, value in values.items():
                self.assertIn(series_name(metric), series)
                series[series_name(metric)] = value
            self.evaluated(series, self.firing(name))

    def test_absent(self) -> None:
        """Where nobody is scraped that is all that fires."""
        self.evaluated({"up": f"0x{MINUTES}"}, self.firing("EnvoyAbsent"))


def alert_names() -> list[str]:
    """The alerts, in order."""
    return [rule["alert"] for rule in rules() if "alert" in rule]
