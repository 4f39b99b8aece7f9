"""What each command operator yields for a connection.

An operator of a format becomes, when the format is built, a function of what is known about a
connection (`StreamInfo`) and of the moment at which it is asked: the modules here have them by
subject.
"""

from __future__ import annotations

from tcpmesh.accesslog.fields import (
    addresses,
    connection,
    http,
    process,
    state,
    times,
    tls,
    upstream,
)
from tcpmesh.accesslog.fields.coalesce import coalesce
from tcpmesh.accesslog.fields.value import Build, Yield
from tcpmesh.config.fields.operators import Operator


def built(operator: Operator) -> Yield:
    """The function for an operator."""
    return OPERATORS[operator.name](operator)


OPERATORS: dict[str, Build] = {
    **addresses.OPERATORS,
    **connection.OPERATORS,
    **http.OPERATORS,
    **process.OPERATORS,
    **state.OPERATORS,
    **times.OPERATORS,
    **tls.OPERATORS,
    **upstream.OPERATORS,
    "COALESCE": coalesce(built),
}
"""What builds the function for an operator, by its name;
`tcpmesh.config.fields.operators.KNOWN` has the same names.
"""
