"""Texts as protobuf takes them: what a client sent need not be UTF-8."""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def valid(text: str) -> str:
    """A text without surrogates, which stand for bytes that are no UTF-8: each is an exclamation
    mark, as in Envoy.
    """
    return text if text.isascii() else _SURROGATE.sub("!", text)
