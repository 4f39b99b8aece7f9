"""A reader of Prometheus' text format as strict as a scraper: anything doubtful raises."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TYPE = re.compile(r"# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary)")
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{(.*)\} (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\[\\"n])*)"(?:,(?!$)|$)')
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}

Labels = tuple[tuple[str, str], ...]


@dataclass
class Page:
    """What a page says: types by family, values by series."""

    types: dict[str, str] = field(default_factory=dict)
    series: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float:
        """The value of one series."""
        return self.series[name, tuple(sorted(labels.items()))]


def read(text: str) -> Page:
    """Read a page, and raise `AssertionError` for what a scraper might refuse."""
    page, family = Page(), ""
    assert not text or text.endswith("\n"), "the last line has no end"
    for line in text.split("\n")[:-1]:
        if line.startswith("#"):
            found = _TYPE.fullmatch(line)
            assert found, f"not a TYPE: {line!r}"
            assert found[1] not in page.types, f"TYPE twice: {line!r}"
            family, page.types[found[1]] = found[1], found[2]
            continue
        found = _SAMPLE.fullmatch(line)
        assert found, f"not a sample: {line!r}"
        assert found[1] in [
            family + suffix for suffix in _SUFFIXES.get(page.types[family], ("",))
        ], f"not of {family}: {line!r}"
        key = found[1], _labels(found[2])
        assert key not in page.series, f"series twice: {line!r}"
        page.series[key] = float(found[3])
    _check_names(page)
    return page


def _labels(text: str) -> Labels:
    found, at = {}, 0
    while at < len(text):
        label = _LABEL.match(text, at)
        assert label, f"bad labels: {text!r}"
        assert label[1] not in found, f"label twice: {text!r}"
        found[label[1]] = re.sub(
            r"\\(.)", lambda escaped: {"n": "\n"}.get(escaped[1], escaped[1]), label[2]
        )
        at = label.end()
    return tuple(sorted(found.items()))


def _check_names(page: Page) -> None:
    """No family may have a sample under the name of another family's."""
    owners: dict[str, str] = {}
    for family, kind in page.types.items():
        for suffix in {"", *_SUFFIXES.get(kind, ())}:
            assert owners.setdefault(family + suffix, family) == family, (
                f"{family + suffix} belongs to two families"
            )
