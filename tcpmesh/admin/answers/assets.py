"""The files that pages are made of: they come with the package, and nothing is loaded from
elsewhere.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

TYPES = {
    ".css": "text/css; charset=UTF-8",
    ".js": "text/javascript; charset=UTF-8",
    ".svg": "image/svg+xml",
}
"""Those that a browser asks for, with what they are."""

SERVED = (
    *("icon.svg", "page.css", "live.css", "map.css", "table.css", "sections.css", "narrow.css"),
    *(
        "about.js",
        "ask.js",
        "chart.js",
        "connections.js",
        "dom.js",
        "live.js",
        "map.js",
        "overview.js",
        "table.js",
    ),
)


@cache
def asset(name: str) -> bytes:
    """The content of a file of `tcpmesh/admin/assets`."""
    return files("tcpmesh.admin").joinpath("assets", name).read_bytes()
