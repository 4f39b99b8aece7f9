"""The figures to steer by as a picture: bars as multiples of Envoy's, shorter is better."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from benchmarks.results import REFERENCE, Results
from benchmarks.workloads import WORKLOADS

_COLOURS = (
    *("#3476cf", "#8f8f8f", "#7fb0ee", "#b9b9b9", "#1f9e9e"),
    *("#d1802f", "#3f8f4f", "#79b987", "#a58fba"),
)
"""Each stands out on white and on black."""

_STYLE = """\
<style>
text { fill: #1f2328 }
.ground { fill: #ffffff }
.one { stroke: #57606a; stroke-dasharray: 3 3 }
.figure { font-size: 10px; paint-order: stroke; stroke: #ffffff; stroke-width: 3px }
.cut { stroke: #ffffff; stroke-width: 3px }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.ground { fill: #0d1117 }
.one { stroke: #9aa4af }
.figure, .cut { stroke: #0d1117 }
}
</style>"""
"""A figure that stands on the line of Envoy has a rim in the colour of the ground."""


_LEFT, _WIDTH, _RIGHT = 290, 520, 70
_BAR, _GAP, _TOP = 12, 14, 76
_LEGEND_COLUMNS = 5
_LONGEST = 2.0
"""Multiples of Envoy at which bars are cut, and show it; the figure beside them says the rest."""

_TITLE = "As a multiple of Envoy: shorter is better"


@dataclass(frozen=True)
class _Group:
    title: str
    ratios: tuple[tuple[str, float], ...]


def _groups(results: Results) -> Iterator[_Group]:
    for workload in WORKLOADS:
        for metric in workload.metrics:
            if not metric.steer:
                continue
            found = (
                (proxy, results.ratio(proxy, REFERENCE, workload.name, metric.key))
                for proxy in results.proxies()
            )
            ratios = tuple((proxy, ratio) for proxy, ratio in found if ratio is not None)
            if ratios:
                yield _Group(f"{workload.name}: {metric.title}", ratios)


def _text(x: float, y: float, content: str, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{escape(content)}</text>'


def _legend(proxies: list[str], colours: dict[str, str]) -> Iterator[str]:
    for number, proxy in enumerate(proxies):
        line, column = divmod(number, _LEGEND_COLUMNS)
        x, y = _LEFT + column * 112, 30 + line * 18
        yield f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colours[proxy]}"/>'
        yield _text(x + 17, y + 10, proxy)


def _bars(group: _Group, y: int, colours: dict[str, str]) -> Iterator[str]:
    middle = y + len(group.ratios) * _BAR / 2 + 4
    yield _text(_LEFT - 10, middle, group.title, 'text-anchor="end"')
    for proxy, ratio in group.ratios:
        width = min(ratio, _LONGEST) / _LONGEST * _WIDTH
        weight = ' font-weight="bold"' if proxy == "tcpmesh" else ""
        yield (
            f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" '
            f'fill="{colours[proxy]}"/>'
        )
        if ratio > _LONGEST:
            yield f'<path class="cut" d="M{_LEFT + width - 18:.0f} {y + _BAR} l5 {-_BAR - 2}"/>'
        yield _text(_LEFT + width + 5, y + _BAR - 3, f"{ratio:.2f}", f'class="figure"{weight}')
        y += _BAR


def svg(results: Results) -> str | None:
    """The picture as SVG; `None` where there is nothing to compare."""
    groups = list(_groups(results))
    if not groups:
        return None
    proxies = results.proxies()
    colours = {proxy: _COLOURS[number % len(_COLOURS)] for number, proxy in enumerate(proxies)}
    height = _TOP + sum(len(group.ratios) * _BAR + _GAP for group in groups)
    width = _LEFT + _WIDTH + _RIGHT
    unit = _LEFT + _WIDTH / _LONGEST
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12">',
        f"<title>{_TITLE}</title>",
        _STYLE,
        f'<rect class="ground" width="{width}" height="{height}"/>',
        _text(_LEFT, 18, _TITLE, 'font-size="14" font-weight="bold"'),
        *_legend(proxies, colours),
        f'<line x1="{unit:.0f}" y1="{_TOP - 6}" x2="{unit:.0f}" y2="{height - 8}" class="one"/>',
    ]
    y = _TOP
    for group in groups:
        parts.extend(_bars(group, y, colours))
        y += len(group.ratios) * _BAR + _GAP
    return "\n".join([*parts, "</svg>"]) + "\n"
