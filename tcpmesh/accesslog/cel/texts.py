"""Values of CEL expressions as formats show them: Envoy's texts, and values of JSON."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, timedelta, timezone
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.text_format import MessageToString

from tcpmesh.accesslog.fields.value import Value, typed
from tcpmesh.config.fields.to_plain import whole

_MICROSECOND = timedelta(microseconds=1)


def text_of(found: Any) -> str:
    """A value of the library as the operator CEL writes it."""
    kind = found.type().name()
    if kind.startswith(("LIST", "MAP")):
        return "CelList value" if kind.startswith("LIST") else "CelMap value"
    value = found.value()
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, timedelta):
        return _absl_duration(value)
    if isinstance(value, datetime):
        return f"{_moment(value)}+00:00"
    if isinstance(value, Message):
        return MessageToString(value, as_one_line=True)
    return str(value) if isinstance(value, str | int) else "CelType value"


def value_of(found: Any) -> Value:
    """A value of the library as the operator TYPED_CEL yields it."""
    if found.type().name() == "TYPE":
        return None
    return typed(_json(found.plain_value()))


def _json(value: Any) -> Any:
    if isinstance(value, Message):
        return whole(MessageToDict(value, preserving_proto_field_name=True))
    if isinstance(value, bytes | bytearray):
        return b64encode(value).decode()
    if isinstance(value, timedelta):
        return _proto_duration(value)
    if isinstance(value, datetime):
        return f"{_moment(value)}Z"
    if isinstance(value, dict):
        return {str(_json(key)): _json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_json(each) for each in value]
    return whole(value) if isinstance(value, str | int | float) else None


def _moment(value: datetime) -> str:
    utc = value.astimezone(timezone.utc).replace(tzinfo=None)
    text = utc.isoformat()
    return text.rstrip("0") if "." in text else text


def _proto_duration(value: timedelta) -> str:
    """With three or six digits of a second's fraction, as protobuf's JSON has it."""
    micros = abs(value) // _MICROSECOND
    seconds, fraction = divmod(micros, 10**6)
    digits = "" if not fraction else f".{fraction:06}"
    sign = "-" if value < timedelta(0) else ""
    return f"{sign}{seconds}{digits.removesuffix('000')}s"


def _absl_duration(value: timedelta) -> str:
    """In the units that Envoy's library chooses: `93us`, `202.852ms`, `1h2m3.5s`."""
    micros = abs(value) // _MICROSECOND
    sign = "-" if value < timedelta(0) else ""
    if micros < 1000:
        return f"{sign}{micros}us" if micros else "0"
    if micros < 10**6:
        return f"{sign}{_decimal(micros, 1000)}ms"
    minutes, rest = divmod(micros, 60 * 10**6)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours}h"] * bool(hours) + [f"{minutes}m"] * bool(minutes)
    return sign + "".join(parts) + (f"{_decimal(rest, 10**6)}s" if rest else "")


def _decimal(number: int, unit: int) -> str:
    """A number of thousandths or millionths, without needless zeros."""
    first, fraction = divmod(number, unit)
    digits = f"{fraction:0{len(str(unit)) - 1}}".rstrip("0")
    return f"{first}.{digits}" if digits else str(first)
