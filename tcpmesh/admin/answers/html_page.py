"""The frame of HTML pages without scripts: one style sheet, that of the live page."""

from __future__ import annotations

from html import escape


def page(title: str, refresh: int | None = None) -> tuple[str, str]:
    """What comes before and after the content of a page; with `refresh`, a browser loads it again
    after so many seconds.
    """
    again = f'<meta http-equiv="refresh" content="{refresh}">\n' if refresh else ""
    before = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{again}<title>{escape(title)} - tcpmesh</title>\n"
        '<link rel="stylesheet" href="assets/page.css">\n</head>\n<body>\n'
    )
    return before, "</body>\n</html>\n"
