"""COALESCE: the first of several operators that has something to say."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.json_format import JsonFormat
from tests.accesslog.known import LATER, connected, known, said


def first_of(operators: str) -> str:
    """The operator."""
    return f'%COALESCE({{"operators": [{operators}]}})%'


class CoalesceTests(SynchronousTestCase):
    """What it says."""

    def test_first(self) -> None:
        """The first that is there and not empty; nothing where none is."""
        names = first_of('"LOCAL_REPLY_BODY", "REQUESTED_SERVER_NAME", "UPSTREAM_HOST"')
        self.assertEqual(said(names, connected()), "10.0.0.3:5432")
        self.assertEqual(said(names, known()), "-")
        self.assertEqual(said(first_of('"RESPONSE_FLAGS", "UPSTREAM_HOST"'), connected()), "-")

    def test_arguments(self) -> None:
        """An operator in it may have an argument and a length, and so may it itself."""
        self.patch(os, "environ", {"A": "value"})
        inner = '{"command": "ENVIRONMENT", "param": "A", "max_length": 3}'
        self.assertEqual(said(first_of(inner)), "val")
        self.assertEqual(said(first_of(inner)[:-1] + ":1%"), "v")

    def test_types(self) -> None:
        """A value keeps its type in JSON."""
        shape = {"a": first_of('"PROTOCOL", {"command": "METADATA", "param": "CLUSTER:m:number"}')}
        self.assertEqual(JsonFormat(shape).format(connected(), LATER), '{"a":2.5}\n')
