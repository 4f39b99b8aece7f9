"""TLS: certificates and keys must be there, be what they say they are and fit each other; names of
cipher suites must be known; and what peers are held against must hold.

The same code reads them here that reads them when a connection is to be made
(`tcpmesh.net.tls.material`).  It is imported with the first configuration that has TLS, for the
library below it is large.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tcpmesh.config.checks.tls import secrets, sockets
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath


def _check_downstream(context: Any, field_path: FieldPath, report: Report) -> None:
    from tcpmesh.config.checks.tls.contexts import check_downstream

    _check_once(check_downstream, context, field_path, report)


def _check_upstream(context: Any, field_path: FieldPath, report: Report) -> None:
    from tcpmesh.config.checks.tls.contexts import check_upstream

    _check_once(check_upstream, context, field_path, report)


def _check_once(
    check: Callable[[Any, FieldPath, Report], None],
    context: Any,
    field_path: FieldPath,
    report: Report,
) -> None:
    """Ten thousand filter chains may have one certificate: what is good is not read again."""
    key = (context.DESCRIPTOR.full_name, context.SerializeToString(deterministic=True))
    if key in report.faultless:
        return
    before = len(report.problems)
    check(context, field_path, report)
    if len(report.problems) == before:
        report.faultless.add(key)


_TLS = "envoy.extensions.transport_sockets.tls.v3."

CHECKS = {
    **sockets.CHECKS,
    **secrets.CHECKS,
    _TLS + "DownstreamTlsContext": _check_downstream,
    _TLS + "UpstreamTlsContext": _check_upstream,
}
