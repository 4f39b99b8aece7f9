"""Operators for the process that writes: they say nothing of a connection."""

from __future__ import annotations

import os
import socket
from uuid import uuid4

from tcpmesh.accesslog.fields.value import Build, Yield, always
from tcpmesh.config.fields.operators import Operator


def _environment(operator: Operator) -> Yield:
    """The value that the variable has when the format is built; one that is not set is a dash in
    any case, as in Envoy.
    """
    return always(os.environ.get(operator.argument or "", "-"))


OPERATORS: dict[str, Build] = {
    "HOSTNAME": lambda operator: always(socket.gethostname()),
    "ENVIRONMENT": _environment,
    "UNIQUE_ID": lambda operator: lambda info, at: str(uuid4()),
}
