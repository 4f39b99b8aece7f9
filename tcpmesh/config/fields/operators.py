"""Command operators, such as `%DOWNSTREAM_REMOTE_ADDRESS%`: how a format is taken apart, and what
Envoy takes for one.

What an operator yields is the business of `tcpmesh.accesslog.format`; this is what can be said of a
text without any connection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from tcpmesh.config.fields.cel import BadExpression, Expression
from tcpmesh.facts import dataclass

_OPERATOR = re.compile(r"%([A-Z0-9_]+)(?:\((.*?)\))?(?::([0-9]{1,19}))?%")
_TEXT = re.compile(r"[^%]+|%%")


class FormatError(ValueError):
    """A format that Envoy would not take either."""


@dataclass(frozen=True)
class Operator:
    """One operator of a format."""

    name: str
    argument: str | None = None
    """What stands in parentheses; `None` where there are none, or nothing is in them."""

    length: int | None = None
    """Bytes of the text after which it is cut off (`%ENVIRONMENT(HOME):3%`)."""


Part = str | Operator
"""A piece of a format: text as it is, or an operator."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Operators that take neither argument nor length.
_ALONE = _words("""
    BYTES_RECEIVED BYTES_SENT DOWNSTREAM_WIRE_BYTES_RECEIVED DOWNSTREAM_WIRE_BYTES_SENT
    UPSTREAM_WIRE_BYTES_RECEIVED UPSTREAM_WIRE_BYTES_SENT BYTES_RETRANSMITTED PACKETS_RETRANSMITTED
    DURATION REQUEST_DURATION REQUEST_TX_DURATION RESPONSE_DURATION RESPONSE_TX_DURATION
    ROUNDTRIP_DURATION DOWNSTREAM_HANDSHAKE_DURATION CONNECTION_ID STREAM_ID UNIQUE_ID
    DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS
    DOWNSTREAM_DIRECT_REMOTE_PORT DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_PORT
    DOWNSTREAM_DIRECT_LOCAL_ADDRESS DOWNSTREAM_DIRECT_LOCAL_PORT UPSTREAM_HOST UPSTREAM_HOST_NAME
    UPSTREAM_HOST_NAME_WITHOUT_PORT UPSTREAM_HOSTS_ATTEMPTED UPSTREAM_HOST_NAMES_ATTEMPTED
    UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT UPSTREAM_CONNECTION_IDS_ATTEMPTED
    UPSTREAM_CONNECTION_ID UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_PORT UPSTREAM_REMOTE_ADDRESS
    UPSTREAM_REMOTE_PORT UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_REQUEST_ATTEMPT_COUNT
    UPSTREAM_CONNECTION_POOL_READY_DURATION UPSTREAM_TRANSPORT_FAILURE_REASON
    DOWNSTREAM_TRANSPORT_FAILURE_REASON DOWNSTREAM_LOCAL_CLOSE_REASON UPSTREAM_LOCAL_CLOSE_REASON
    DOWNSTREAM_DETECTED_CLOSE_TYPE UPSTREAM_DETECTED_CLOSE_TYPE CONNECTION_TERMINATION_DETAILS
    RESPONSE_FLAGS RESPONSE_FLAGS_LONG RESPONSE_CODE DOWNSTREAM_TLS_VERSION DOWNSTREAM_TLS_CIPHER
    DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_TLS_GROUP UPSTREAM_TLS_VERSION UPSTREAM_TLS_CIPHER
    UPSTREAM_TLS_SESSION_ID UPSTREAM_TLS_GROUP DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_ISSUER
    DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256
    DOWNSTREAM_PEER_CERT DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_PEER_DNS_SAN DOWNSTREAM_PEER_IP_SAN
    DOWNSTREAM_PEER_EMAIL_SAN DOWNSTREAM_PEER_OTHERNAME_SAN DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1
    DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_LOCAL_URI_SAN
    DOWNSTREAM_LOCAL_DNS_SAN DOWNSTREAM_LOCAL_IP_SAN DOWNSTREAM_LOCAL_EMAIL_SAN
    DOWNSTREAM_LOCAL_OTHERNAME_SAN DOWNSTREAM_LOCAL_SUBJECT UPSTREAM_PEER_SUBJECT
    UPSTREAM_PEER_ISSUER UPSTREAM_PEER_CERT UPSTREAM_PEER_URI_SAN UPSTREAM_PEER_DNS_SAN
    UPSTREAM_PEER_IP_SAN UPSTREAM_LOCAL_URI_SAN UPSTREAM_LOCAL_DNS_SAN UPSTREAM_LOCAL_IP_SAN
    TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT UPSTREAM_SERVER_NAME FILTER_CHAIN_NAME LISTENER_NAME
    DOWNSTREAM_CX_RTT HOSTNAME ACCESS_LOG_TYPE DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID CUSTOM_FLAGS
    LOCAL_REPLY_BODY PROTOCOL ROUTE_NAME VIRTUAL_CLUSTER_NAME GRPC_STATUS_NUMBER UPSTREAM_PROTOCOL
    REQUEST_HEADERS_BYTES RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES UPSTREAM_HEADER_BYTES_SENT
    UPSTREAM_HEADER_BYTES_RECEIVED DOWNSTREAM_HEADER_BYTES_SENT DOWNSTREAM_HEADER_BYTES_RECEIVED
    TRACE_ID SPAN_ID
    """)

#: Operators that may have any argument.
_TIMES = _words("START_TIME START_TIME_LOCAL EMIT_TIME EMIT_TIME_LOCAL")
_MAY = _TIMES | _words("""
    DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT
    DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT
    UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT RESPONSE_CODE_DETAILS
    DOWNSTREAM_PEER_CERT_V_START DOWNSTREAM_PEER_CERT_V_END UPSTREAM_PEER_CERT_V_START
    UPSTREAM_PEER_CERT_V_END
    """)

#: Operators that must have an argument.
_HEADERS = _words("REQ RESP TRAILER REQUEST_HEADER RESPONSE_HEADER RESPONSE_TRAILER")
_MUST = _HEADERS | _words("""
    DYNAMIC_METADATA ENVIRONMENT QUERY_PARAM CLUSTER_METADATA UPSTREAM_METADATA COMMON_DURATION
    COALESCE TCPMESH
    """)

#: Operators whose argument, where there is one, is one of these words.
_CHOICES = {
    "REQUESTED_SERVER_NAME": _words("SNI_ONLY SNI_FIRST HOST_FIRST"),
    "GRPC_STATUS": _words("CAMEL_STRING SNAKE_STRING NUMBER"),
    "PATH": _words("WQ NQ"),
    "QUERY_PARAMS": _words("ORIG DECODED"),
    "TCPMESH": _words("close_reason"),
}

_STATES = _words("FILTER_STATE UPSTREAM_FILTER_STATE")
_METADATA = _words(
    "DYNAMIC CLUSTER ROUTE UPSTREAM_HOST LISTENER LISTENER_FILTER_CHAIN VIRTUAL_HOST"
)
_LANGUAGE = _words("CEL TYPED_CEL")
_PRECISIONS = _words("ms us ns")

#: Operators that may be cut to a length.
_CUT = (
    _STATES
    | _LANGUAGE
    | _HEADERS
    | _words("""
    DYNAMIC_METADATA METADATA ENVIRONMENT QUERY_PARAM PATH QUERY_PARAMS COALESCE
    """)
)

KNOWN = _ALONE | _MAY | _MUST | _STATES | _LANGUAGE | _CHOICES.keys() | {"METADATA"}
"""All operators that Envoy has for every format, and TCPMESH, which is ours."""


#: What can be said of a connection and of a health check alike.
_EVERYWHERE = (
    _TIMES
    | _HEADERS
    | _words("""
    DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_PORT
    DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT
    DOWNSTREAM_DIRECT_REMOTE_PORT DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT
    DOWNSTREAM_LOCAL_PORT DOWNSTREAM_DIRECT_LOCAL_ADDRESS
    DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_LOCAL_PORT DURATION CONNECTION_ID
    UNIQUE_ID HOSTNAME ENVIRONMENT RESPONSE_FLAGS RESPONSE_FLAGS_LONG
    """)
)

OF_FORMATTERS = {
    "envoy.extensions.formatter.cel.v3.Cel": _words("CEL TYPED_CEL"),
    "envoy.extensions.formatter.metadata.v3.Metadata": _words("METADATA"),
    "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery": _words("REQ_WITHOUT_QUERY"),
}
"""The operators that an extension brings to a format that names it (`formatters`), by its type; the
first two are known without it.
"""

#: What `tcpmesh.cluster.health.request_headers` can say in the header fields of a health check.
IN_CHECKS = _EVERYWHERE | _words("""
    RESPONSE_CODE PROTOCOL UPSTREAM_HOST UPSTREAM_HOST_NAME
    UPSTREAM_HOST_NAME_WITHOUT_PORT UPSTREAM_METADATA METADATA
    """)


def unsupported_in_checks(parts: Iterable[Part]) -> list[str]:
    """The operators in a header field of a health check that only Envoy acts on; of METADATA, that
    of the host is supported.
    """
    return [
        part.name if part.name not in IN_CHECKS else f"METADATA({part.argument})"
        for part in parts
        if isinstance(part, Operator)
        if part.name not in IN_CHECKS
        or (part.name == "METADATA" and (part.argument or "").partition(":")[0] != "UPSTREAM_HOST")
    ]


def names_of_formatters(configs: Iterable[Any]) -> frozenset[str]:
    """The operators that the `formatters` of a format bring."""
    return frozenset(
        name for config in configs for name in OF_FORMATTERS.get(config.typed_config.TypeName(), ())
    )


def parse(text: str, more: Collection[str] = ()) -> tuple[Part, ...]:
    """Take a format apart; `%%` is a percent sign.

    :param more: names of operators beyond `KNOWN`.
    :raise FormatError: where Envoy refuses it.
    """
    return tuple(_joined(_parts(text, more)))


def _parts(text: str, more: Collection[str]) -> Iterator[Part]:
    at = 0
    while at < len(text):
        found = _TEXT.match(text, at)
        if found is not None:
            yield "%" if found[0] == "%%" else found[0]
        else:
            found = _OPERATOR.match(text, at)
            if found is None:
                raise FormatError(
                    f"no operator can be read at character {at} of the format {text!r}; a "
                    f"percent sign is %%"
                )
            yield _operator(found, more)
        at = found.end()


def _joined(parts: Iterator[Part]) -> Iterator[Part]:
    """Neighbouring texts made one."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            yield text
            text = ""
        yield part
    if text:
        yield text


def _operator(found: re.Match[str], more: Collection[str]) -> Operator:
    name, argument, length = found.groups()
    operator = Operator(name, argument or None, int(length) if length is not None else None)
    _check(operator, more)
    return operator


def _check(operator: Operator, more: Collection[str] = ()) -> None:
    """See to it that Envoy takes an operator as it is written."""
    name, argument, length = operator.name, operator.argument, operator.length
    if name not in KNOWN and name not in more:
        raise FormatError(f"there is no operator {name}")
    if name in _ALONE and (argument or length is not None):
        raise FormatError(f"{name} takes neither an argument nor a length")
    if length is not None and name not in _CUT and name not in more:
        raise FormatError(f"{name} cannot be cut to a length")
    _check_argument(name, argument or "")


def _check_argument(name: str, argument: str) -> None:
    if name in _MUST and not argument:
        raise FormatError(f"{name} needs an argument in parentheses")
    if name in _CHOICES and argument and argument.partition(":")[0] not in _CHOICES[name]:
        raise FormatError(
            f"the argument of {name} is one of {', '.join(sorted(_CHOICES[name]))}, not "
            f"{argument!r}"
        )
    if name in _TIMES and ("\n" in argument or "%n" in argument):
        raise FormatError(f"the argument of {name} must not have a line break")
    if (name in _HEADERS or name == "REQ_WITHOUT_QUERY") and argument.count("?") > 1:
        raise FormatError(f"{name} takes one alternative: {argument!r}")
    if name == "METADATA" and argument.partition(":")[0] not in _METADATA:
        raise FormatError(
            f"METADATA begins with one of {', '.join(sorted(_METADATA))}, not with "
            f"{argument.partition(':')[0]!r}"
        )
    if name in _STATES:
        _check_state(name, argument)
    if name in _LANGUAGE:
        _check_expression(name, argument)
    if name == "COALESCE":
        coalesced(argument)
    if name == "COMMON_DURATION":
        points = argument.split(":")
        if len(points) not in (2, 3) or (points[2:] and points[2] not in _PRECISIONS):
            raise FormatError(
                f"COMMON_DURATION is start:end:precision, the last ms, us or ns, not {argument!r}"
            )


def _check_expression(name: str, argument: str) -> None:
    try:
        Expression(argument)
    except BadExpression as error:
        raise FormatError(f"{name}: {error}") from None


def _check_state(name: str, argument: str) -> None:
    key, *rest = argument.rstrip(":").split(":")
    if not key:
        raise FormatError(f"{name} needs the key of an object")
    if rest and rest[0] not in ("PLAIN", "TYPED", "FIELD"):
        raise FormatError(f"{name} knows the forms PLAIN, TYPED and FIELD, not {rest[0]!r}")
    if rest and (rest[0] == "FIELD") is not (len(rest) > 1):
        raise FormatError(f"{name}: FIELD, and only FIELD, is followed by the name of a field")


def coalesced(argument: str) -> tuple[Operator, ...]:
    """The operators that the argument of COALESCE names, as JSON.

    :raise FormatError: where Envoy refuses it.
    """
    try:
        shape = json.loads(argument)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the argument of COALESCE is no JSON: {error}") from None
    entries = shape.get("operators") if isinstance(shape, dict) else None
    if not isinstance(entries, list) or not entries:
        raise FormatError("the argument of COALESCE is a JSON object with a list `operators`")
    return tuple(_coalesced(entry) for entry in entries)


def _coalesced(entry: object) -> Operator:
    """One of them: a name, or an object with `command`, `param` and `max_length`."""
    if isinstance(entry, str):
        entry = {"command": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("command"), str):
        raise FormatError(
            "an operator of COALESCE is a name, or an object with `command`, `param` and "
            f"`max_length`, not {entry!r}"
        )
    argument, length = entry.get("param", ""), entry.get("max_length")
    if not isinstance(argument, str):
        raise FormatError(f"`param` of an operator of COALESCE is a string, not {argument!r}")
    if length is not None and (type(length) is not int or not 0 < length < 1 << 63):
        raise FormatError(
            f"`max_length` of an operator of COALESCE is a positive number, not {length!r}"
        )
    operator = Operator(entry["command"], argument or None, length)
    _check(operator)
    return operator
