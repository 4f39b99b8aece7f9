"""The one picture of the README: what a proxy spends on each kind of work, in four panels.

`chart` shows every figure to steer by, for who works on tcpmesh.  This is for who has just heard of
it: the four costs that a newcomer asks for, with a unit, beside the proxies that they know.

    python -m benchmarks.overview

draws `docs/benchmarks/overview.svg` from `results.json` beside it; `make bench` ends with that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from benchmarks.report import number
from benchmarks.results import Results, read
from benchmarks.workloads import WORKLOADS

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
PICTURE = FOLDER / "overview.svg"

PROXIES = {"tcpmesh": "tcpmesh", "envoy": "Envoy", "haproxy": "HAProxy", "nginx": "nginx"}
"""Who is shown, by the name in the results; Twisted's example is no proxy that anybody runs."""

PANELS = (
    ("small-64", "cpu", "a small request", "µs of CPU"),
    ("new", "cpu", "a new connection", "µs of CPU"),
    ("download", "cpu", "a gigabyte", "s of CPU"),
    ("idle", "kib", "an idle connection", "KiB"),
)
"""Workload and figure, as the results name them, then what it is the price of, and in what."""

_TITLE = "What a proxy with one worker spends on …"
_NOTE = "Shorter is better. Medians; docs/benchmarks says how they were measured."

_STYLE = """\
<style>
text { fill: #1f2328 }
.ground { fill: #ffffff }
.quiet { fill: #59636e }
.bar { fill: #a3acb5 }
.ours { fill: #3476cf }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.ground { fill: #0d1117 }
.quiet { fill: #9198a1 }
.bar { fill: #57606a }
.ours { fill: #4d8fe8 }
}
</style>"""

_MARGIN, _NAMES, _PANEL, _BARS = 16, 76, 176, 110
_TOP, _ROW, _BAR = 84, 24, 16


@dataclass(frozen=True)
class Panel:
    """One price, paid by each proxy.

    :param title: what is paid for.
    :param unit: what it is paid in.
    :param prices: for each proxy its name, the price, and the price as text.
    """

    title: str
    unit: str
    prices: tuple[tuple[str, float, str], ...]


def panels(results: Results) -> Iterator[Panel]:
    """What the picture shows of a run.

    :raise LookupError: where the run has no figure for a proxy.
    """
    metrics = {(work.name, metric.key): metric for work in WORKLOADS for metric in work.metrics}
    for workload, key, title, unit in PANELS:
        prices = []
        for proxy in PROXIES:
            summary = results.summary(proxy, workload, key)
            if summary is None:
                raise LookupError(f"the results have no {key} of {proxy} for {workload}")
            text = number(summary.median, metrics[workload, key].digits)
            prices.append((proxy, summary.median, text))
        yield Panel(title, unit, tuple(prices))


def _text(x: float, y: float, content: str, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{escape(content)}</text>'


def _panel(panel: Panel, x: int) -> Iterator[str]:
    """The bars of a panel whose left edge is at `x`; the longest has the panel's whole width."""
    yield _text(x, _TOP - 24, panel.title, 'font-weight="bold"')
    yield _text(x, _TOP - 9, panel.unit, 'class="quiet" font-size="11"')
    longest = max(price for _, price, _ in panel.prices)
    for row, (proxy, price, text) in enumerate(panel.prices):
        y = _TOP + row * _ROW
        width = price / longest * _BARS
        kind, weight = ("ours", ' font-weight="bold"') if proxy == "tcpmesh" else ("bar", "")
        yield f'<rect class="{kind}" x="{x}" y="{y}" width="{width:.1f}" height="{_BAR}"/>'
        yield _text(x + width + 5, y + 12, text, f'font-size="11"{weight}')


def svg(results: Results) -> str:
    """The picture.

    :raise LookupError: where the run has no figure for a proxy.
    """
    width = 2 * _MARGIN + _NAMES + len(PANELS) * _PANEL
    height = _TOP + len(PROXIES) * _ROW + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12" role="img">',
        f"<title>{_TITLE}</title>",
        _STYLE,
        f'<rect class="ground" width="{width}" height="{height}"/>',
        _text(_MARGIN, 26, _TITLE, 'font-size="15" font-weight="bold"'),
    ]
    for row, name in enumerate(PROXIES.values()):
        weight = 'font-weight="bold"' if name == "tcpmesh" else ""
        parts.append(_text(_MARGIN, _TOP + row * _ROW + 12, name, weight))
    for place, panel in enumerate(panels(results)):
        parts.extend(_panel(panel, _MARGIN + _NAMES + place * _PANEL))
    parts.append(_text(_MARGIN, height - 14, _NOTE, 'class="quiet" font-size="11"'))
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Draw the picture of the published results."""
    PICTURE.write_text(svg(read(FOLDER / "results.json")), encoding="utf-8")


if __name__ == "__main__":
    main()
