"""Token buckets that a file has, by their names: what `DynamicTokenBucket` messages point to.

The file is one of discovery: a `DiscoveryResponse` in YAML or JSON, whose resources are
`type.v3.TokenBucket` messages, each in a `Resource` that has its name.
"""

from __future__ import annotations

from typing import Any

import yaml
from envoy.type.v3.token_bucket_pb2 import TokenBucket
from google.protobuf.json_format import ParseDict, ParseError

from tcpmesh.config.fields.values import seconds
from tcpmesh.config.text.files import content_of
from tcpmesh.facts import dataclass


class BadBucket(ValueError):
    """There is no such bucket; the text says why."""


@dataclass(frozen=True)
class Bucket:
    """How many tokens there may be, and how fast they come back."""

    most: int
    per_second: float


def path_of(message: Any) -> str:
    """The file that a `DynamicTokenBucket` names; empty where its source is none."""
    source = message.config_source
    if source.HasField("path_config_source"):
        return str(source.path_config_source.path)
    return str(source.path)


def read_bucket(message: Any) -> Bucket:
    """The bucket that a `DynamicTokenBucket` names, as its file has it now.

    :raise BadBucket: where it has none.
    """
    path, name = path_of(message), message.resource_name
    if not path:
        raise BadBucket("tcpmesh reads token buckets from files only: give path_config_source")
    for resource in _resources(path):
        if resource.name == name:
            found = TokenBucket()
            if not resource.resource.Unpack(found):
                raise BadBucket(f"{name!r} of {path!r} is no TokenBucket")
            return _judged(found, f"{name!r} of {path!r}")
    raise BadBucket(f"{path!r} has no token bucket {name!r}")


def _resources(path: str) -> list[Any]:
    from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse, Resource

    try:
        response = ParseDict(yaml.safe_load(content_of(path)), DiscoveryResponse())
    except OSError as error:
        raise BadBucket(f"cannot read the file {path!r}: {error.strerror}") from None
    except (yaml.YAMLError, ParseError, ValueError, TypeError, RecursionError, AttributeError) as e:
        raise BadBucket(f"{path!r} is no DiscoveryResponse: {e}") from None
    found = []
    for any_message in response.resources:
        resource = Resource()
        if any_message.Unpack(resource):
            found.append(resource)
    return found


def bucket_of(message: Any) -> Bucket:
    """What a `type.v3.TokenBucket` says whose `fill_interval` is greater than 0."""
    per_fill = message.tokens_per_fill.value if message.HasField("tokens_per_fill") else 1
    return Bucket(message.max_tokens, per_fill / seconds(message.fill_interval))


def _judged(message: Any, what: str) -> Bucket:
    is_negative = message.HasField("tokens_per_fill") and message.tokens_per_fill.value <= 0
    if message.max_tokens <= 0 or is_negative or seconds(message.fill_interval) <= 0:
        raise BadBucket(f"{what}: max_tokens, tokens_per_fill and fill_interval are greater than 0")
    return bucket_of(message)
