"""The messages of `client_limit.proto`."""

from __future__ import annotations

from typing import Any

from tcpmesh.config.schema.own import fill

ClientLimit: Any

fill("client_limit.proto", globals())
