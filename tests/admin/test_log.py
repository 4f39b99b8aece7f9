"""The access logs of the admin interface: a record of each request that was answered."""

from __future__ import annotations

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.access_logs import access_logs
from tcpmesh.admin.site import AdminSite
from tcpmesh.admin.table import ENDPOINTS
from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.registry import MainContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.access_logs import MemoryAccessLogs
from tcpmesh.testing.memory.network import MemoryNetwork
from tests.admin.client import Client
from tests.admin.fakes import FakeServer


class LogTests(SynchronousTestCase):
    """Requests, and what is written of them."""

    def client(self, text: str = "") -> Client:
        """A client of pages that log to `log`, in Envoy's default format unless there is a text."""
        self.files = MemoryAccessLogs()
        clock = Clock()
        context = MainContext(MemoryNetwork(clock=clock), Store(), access_logs=self.files)
        message = accesslog_pb2.AccessLog()
        message.typed_config.Pack(file_pb2.FileAccessLog(path="log", format=text))
        logs = access_logs([message], context)
        site = AdminSite(FakeServer(), ENDPOINTS, clock, shared_cooperator(clock), logs)
        return Client(FakeServer(), clock, site)

    def logged(self) -> list[str]:
        """What was written."""
        return self.files.files["log"].records

    def ask(self, client: Client, method: str, path: str, body: bytes = b"", **more: str) -> None:
        """A request, and its answer."""
        client.send(method, path, body, **more)
        client.response()

    def test_default(self) -> None:
        """Envoy's default format tells the request, the status, the bytes of both bodies, and who
        has asked.
        """
        client = self.client()
        self.ask(client, "GET", "/ready?a=1", User_Agent="me")
        self.ask(client, "POST", "/nope", b"12345", X_Forwarded_For="1.2.3.4", X_Request_Id="7")
        first, second = self.logged()
        self.assertRegex(
            first,
            r'^\[.*Z\] "GET /ready\?a=1 HTTP/1.1" 200 - 0 5 0 - "192.168.1.1" "me" "-" '
            r'"localhost" "-"\n$',
        )
        self.assertRegex(
            second,
            r'"POST /nope HTTP/1.1" 404 - 5 \d+ 0 - "1.2.3.4,192.168.1.1" "-" "7" '
            r'"localhost" "-"\n',
        )

    def test_operators(self) -> None:
        """Operators of HTTP have values here."""
        client = self.client(
            "%REQ(:METHOD)% %REQ(:SCHEME)% %REQ(no?:authority)% %REQ(:x)% %PATH% %PATH(NQ)% "
            "%QUERY_PARAMS% %QUERY_PARAM(b)% %QUERY_PARAM(c)% %RESPONSE_CODE% %RESP(:STATUS)% "
            "%RESP(content-type)% %RESPONSE_CODE_DETAILS% %CONNECTION_ID% %ACCESS_LOG_TYPE%"
        )
        self.ask(client, "GET", "/ready?a=%31&b=2%20")
        self.assertEqual(
            [
                "GET http localhost - /ready?a=%31&b=2%20 /ready a=%31&b=2%20 2  - 200 200 "
                "text/plain; charset=UTF-8 admin_filter_response 0 DownstreamEnd"
            ],
            self.logged(),
        )

    def test_hostile(self) -> None:
        """Whatever bytes a request has are written as they are."""
        client = self.client("%REQ(X-EVIL)%|%REQ(:PATH)%\n")
        self.ask(client, "GET", "/%ff%0a", X_Evil='\xe9"\x1b[31m')
        (line,) = self.logged()
        self.assertEqual(b'\xe9"\x1b[31m|/%ff%0a\n', line.encode("utf-8", "surrogateescape"))
