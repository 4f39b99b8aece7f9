"""Tests that need the package of an extra, which not every Python has."""

from __future__ import annotations

from importlib.util import find_spec
from unittest import skipIf

needs_cel = skipIf(
    find_spec("cel_expr_python") is None, "there is no cel-expr-python for this Python"
)
