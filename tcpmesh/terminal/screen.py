"""Draws `tcpmesh top` on a terminal, by curses, and reads its keys."""

from __future__ import annotations

import curses
import locale
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty
from typing import Any, NoReturn

from tcpmesh.terminal.fetching import Fetching
from tcpmesh.terminal.top import Line, Style, Top

TICK = 100
"""Milliseconds until what was gathered meanwhile is looked for."""

ESCAPE_DELAY = 50
"""Milliseconds in which the rest of a key must come that begins as ESC does."""

TERMINATED = 128 + signal.SIGTERM

NAMES = {
    curses.KEY_UP: "UP",
    curses.KEY_DOWN: "DOWN",
    curses.KEY_PPAGE: "PAGE_UP",
    curses.KEY_NPAGE: "PAGE_DOWN",
    curses.KEY_HOME: "HOME",
    curses.KEY_END: "END",
    curses.KEY_ENTER: "ENTER",
    curses.KEY_BACKSPACE: "BACKSPACE",
    "\n": "ENTER",
    "\r": "ENTER",
    "\t": "TAB",
    "\x1b": "ESCAPE",
    "\x08": "BACKSPACE",
    "\x7f": "BACKSPACE",
}
"""Of keys that are no characters to be seen."""


class NoScreen(Exception):
    """There is no terminal that can be drawn on; the text says why."""


def show(top: Top, fetching: Fetching) -> None:
    """Until its user has enough.

    :raise NoScreen: where nothing can be drawn.
    """
    with _screen() as window:
        styles = _styles()
        fetching.start()
        try:
            _loop(window, styles, top, fetching)
        finally:
            fetching.stop()


def _loop(window: Any, styles: dict[Style, int], top: Top, fetching: Fetching) -> None:
    size: tuple[int, int] = (0, 0)
    is_new = True
    while not top.is_over:
        fetching.want(None if top.is_paused else top.wanted)
        if is_new or size != window.getmaxyx():
            size = window.getmaxyx()
            _draw(window, styles, top.lines(size[1], size[0]))
        key = _key(window)
        if key:
            top.press(key)
        while top.to_close:
            fetching.close(top.to_close.pop(0))
        is_new = bool(key)
        with suppress(Empty):
            while True:
                fetching.news.get_nowait()(top)
                is_new = True


def _draw(window: Any, styles: dict[Style, int], lines: Sequence[Line]) -> None:
    window.erase()
    for row, line in enumerate(lines):
        text = line.text.encode(window.encoding, "backslashreplace").decode(window.encoding)
        # The last place of the screen can be written, but the cursor has nowhere to go then.
        with suppress(curses.error):
            window.addstr(row, 0, text, styles[line.style])
    window.refresh()


def _key(window: Any) -> str:
    """The key that was pressed, if one was."""
    try:
        key = window.get_wch()
    except curses.error:
        return ""
    return NAMES.get(key, key if isinstance(key, str) else "")


@contextmanager
def _screen() -> Iterator[Any]:
    """The whole terminal, which is as it was afterwards."""
    locale.setlocale(locale.LC_ALL, "")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise NoScreen("this is no terminal: --once prints what is there now")
    try:
        curses.setupterm()
    except curses.error as e:
        raise NoScreen(f"TERM={os.environ.get('TERM', '')}: {e}: try --once") from None
    before = signal.signal(signal.SIGTERM, _terminated)
    window = curses.initscr()
    try:
        curses.noecho()
        curses.cbreak()
        window.keypad(True)
        window.timeout(TICK)
        curses.set_escdelay(ESCAPE_DELAY)
        with suppress(curses.error):
            curses.curs_set(0)
        yield window
    finally:
        curses.endwin()
        signal.signal(signal.SIGTERM, before)


def _terminated(number: int, frame: object) -> NoReturn:
    """End, but give the terminal back first."""
    sys.exit(TERMINATED)


def _styles() -> dict[Style, int]:
    """What each style looks like here: without colours where there are none, or none are wanted
    (https://no-color.org).
    """
    styles = {
        Style.PLAIN: curses.A_NORMAL,
        Style.TITLE: curses.A_BOLD,
        Style.HEAD: curses.A_REVERSE,
        Style.CHOSEN: curses.A_REVERSE | curses.A_BOLD,
        Style.BAD: curses.A_BOLD,
    }
    if not os.environ.get("NO_COLOR") and curses.has_colors():
        with suppress(curses.error):
            curses.start_color()
            curses.use_default_colors()
            curses.init_pair(1, curses.COLOR_RED, -1)
            curses.init_pair(2, curses.COLOR_CYAN, -1)
            styles[Style.BAD] |= curses.color_pair(1)
            styles[Style.TITLE] |= curses.color_pair(2)
    return styles
