"""The frame of HTML pages: one style sheet, no script, nothing loaded from elsewhere, light or dark
as the reader's system is.
"""

from __future__ import annotations

from html import escape

_STYLE = """
:root { color-scheme: light dark; --text: #1d2430; --dim: #667085; --back: #fff; --card: #f6f7f9;
  --line: #e3e6eb;
  --accent: #3154c8; --good: #157f4f; --bad: #b42318; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7ec; --dim: #98a2b3; --back: #12161d;
  --card: #1a202a; --line: #2c3442;
  --accent: #8ea8ff; --good: #56c596; --bad: #f97066; } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 64rem; background: var(--back);
  color: var(--text);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.05rem; margin: 2.25rem 0 .5rem }
a { color: var(--accent); text-decoration: none } a:hover { text-decoration: underline }
code, pre { font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: 1rem }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .4rem 1rem } header span {
  color: var(--dim) }
.state { color: var(--good); font-weight: 600 } .state.bad { color: var(--bad) }
table { width: 100%; border-collapse: collapse }
th { text-align: left; font-weight: 500; color: var(--dim); font-size: 13px } th, td {
  padding: .35rem .75rem .35rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top } td.number, th.number {
  text-align: right;
  font-variant-numeric: tabular-nums }
.good { color: var(--good) } .bad { color: var(--bad) } .dim { color: var(--dim) }
details > summary { cursor: pointer; color: var(--dim); font-size: 13px } form { margin: 0 }
form.options { display: grid; grid-template-columns: max-content 1fr; gap: .3rem .75rem;
  padding: .5rem 0; align-items: center }
form.options small { color: var(--dim) }
button, input, select { font: inherit; color: inherit; background: var(--card);
  border: 1px solid var(--line); border-radius: 6px;
  padding: .15rem .6rem } button { cursor: pointer; color: var(--accent) } button:hover {
  border-color: var(--accent) }
"""


def page(title: str, refresh: int | None = None) -> tuple[str, str]:
    """What comes before and after the content of a page; with `refresh`, a browser loads it again
    after so many seconds.
    """
    again = f'<meta http-equiv="refresh" content="{refresh}">\n' if refresh else ""
    before = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{again}<title>{escape(title)} - tcpmesh</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n"
    )
    return before, "</body>\n</html>\n"
