"""Which requests the admin interface lets through: paths that the configuration allows, and changes
that no web page elsewhere has asked for.

Whoever reaches the address may do all.  But a browser reaches it too, on behalf of any page that
its user looks at: a form of another site can send a POST here, and a name of theirs may lead to
this address (DNS rebinding).  So what changes something is refused where the browser says that
another site asks (`Origin`, `Sec-Fetch-Site`), and where the host that was asked for is a name that
is not known to be ours.  A number for a host is fine: no name leads anywhere then.  What comes by a
unix socket does not come from a browser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from urllib.parse import unquote

from twisted.internet.address import UNIXAddress
from twisted.web.http import Request

from tcpmesh.admin.answers.endpoint import Refusal
from tcpmesh.values.address import Address

LOCAL_NAMES = ("localhost",)

_SLASHES = re.compile("//+")
_WRONG = re.compile(r"%00|#", re.IGNORECASE)

Allows = Callable[[str], bool]


def normal_path(path: str) -> str:
    """The path that is meant, as in Envoy: without escapes, dots and empty segments.

    :raise Refusal: where it is none.
    """
    if not path.startswith("/") or _WRONG.search(path):
        raise Refusal("", 400)
    segments: list[str] = []
    for segment in _SLASHES.sub("/", path)[1:].split("/"):
        if segment == "..":
            segments = segments[:-1]
        elif segment != ".":
            segments.append(unquote(segment) if "%2f" not in segment.lower() else segment)
    if path.endswith(("/.", "/..")):
        segments.append("")
    return "/" + "/".join(segments)


class Guard:
    """What one admin interface lets through.

    :param allows: the tests of `allow_paths`, of which one has to let a path pass; none for all.
    :param names: the names under which browsers may find it, beside localhost.
    """

    def __init__(self, allows: Iterable[Allows] = (), names: Iterable[str] = ()) -> None:
        self._allows = tuple(allows)
        self._names = frozenset((*LOCAL_NAMES, *(name.lower().rstrip(".") for name in names)))

    def check_path(self, path: str, query: str) -> None:
        """Whether the configuration allows it, query and all.

        :raise Refusal: where it does not.
        """
        asked = f"{path}?{query}" if query else path
        if self._allows and not any(allows(asked) for allows in self._allows):
            raise Refusal(f"request to path {asked} not allowed", 403)

    def check_change(self, request: Request) -> None:
        """Whether nobody else's page has made a browser ask for a change.

        :raise Refusal: where it may have.
        """
        if _is_unix(request):
            return
        host = (request.getHeader(b"host") or b"").decode("latin-1").strip().lower()
        if host and not self._is_ours(host):
            raise Refusal(
                "the host that is asked for is none of the names of this admin interface: use its "
                "address or localhost, or give the name with --admin-name\n",
                403,
            )
        origin = (request.getHeader(b"origin") or b"").decode("latin-1").strip().lower()
        site = (request.getHeader(b"sec-fetch-site") or b"none").decode("latin-1").strip()
        is_own = not origin or origin in (f"http://{host}", f"https://{host}")
        if not is_own or site not in ("none", "same-origin"):
            raise Refusal("a page of another site may not change anything here\n", 403)

    def _is_ours(self, host: str) -> bool:
        name = _name_of(host)
        try:
            ip_address(name)
        except ValueError:
            return name.rstrip(".") in self._names
        return True


def _name_of(host: str) -> str:
    """The name of a `Host`, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_unix(request: Request) -> bool:
    own = request.getHost()
    return isinstance(own, UNIXAddress) or (isinstance(own, Address) and own.port == 0)
