"""The access logs of one place."""

from __future__ import annotations

from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from google.protobuf import wrappers_pb2
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh import registry
from tcpmesh.accesslog.access_logs import AccessLogs, access_logs
from tcpmesh.extensions.access_loggers.file import FileAccessLog
from tcpmesh.interfaces import IAccessLogger, IMayWriteNothing, ISaysWhatItWants
from tcpmesh.registry import MainContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.access_logs import MemoryAccessLogs
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.wanted import EVERYTHING, NOTHING, Wanted
from tests.mesh import parse

FILE = "'@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
OTHER = "'@type': type.googleapis.com/google.protobuf.StringValue, value: "


@implementer(IAccessLogger)
class Other:
    """Another package's logger, which says nothing of itself; it raises where it is to."""

    def __init__(self, message: Any, context: Any) -> None:
        self.records = context.access_logs.open("other").records
        self.breaks = message.value == "breaks"

    def log(self, info: StreamInfo, at: Moment) -> None:
        """Keep it."""
        if self.breaks:
            raise RuntimeError("no disk")
        self.records.append("other")

    def close(self) -> None:
        """Note it."""
        self.records.append("closed")


class AccessLogsTests(SynchronousTestCase):
    """What is logged, and what has to be known for it."""

    def setUp(self) -> None:
        """`StringValue` stands for the other package's logger."""
        known = {
            **registry._by_type,
            "google.protobuf.StringValue": (wrappers_pb2.StringValue, Other),
        }
        self.patch(registry, "_by_type", known)
        self.files = MemoryAccessLogs()
        self.context = MainContext(MemoryNetwork(), Store(), access_logs=self.files)

    def made(self, *configs: str) -> AccessLogs | None:
        """The logs of these configurations."""
        return access_logs(
            [
                parse(accesslog_pb2.AccessLog, f"name: x\ntyped_config: {{{config}}}")
                for config in configs
            ],
            self.context,
        )

    def logs(self, *configs: str) -> AccessLogs:
        """Such as there are."""
        made = self.made(*configs)
        assert made is not None
        return made

    def test_interfaces(self) -> None:
        """A logger of lines says what it wants, and whether it writes at all."""
        logger = FileAccessLog(parse(file_pb2.FileAccessLog, "path: a"), self.context)
        for each in (IAccessLogger, IMayWriteNothing, ISaysWhatItWants):
            self.assertTrue(verifyObject(each, logger))

    def test_wants(self) -> None:
        """What all want is asked of connections; one that does not say what is taken to want
        everything.
        """
        local = f"{FILE}, path: a, format: '%DOWNSTREAM_LOCAL_ADDRESS%'"

        self.assertEqual(NOTHING, self.logs(f"{FILE}, path: a").wants)
        self.assertEqual(Wanted.LOCAL_ADDRESS, self.logs(f"{FILE}, path: a", local).wants)
        self.assertEqual(EVERYTHING, self.logs(local, f"{OTHER}works").wants)

    def test_nothing_to_write(self) -> None:
        """Logs to /dev/null alone are none; beside others they are not called."""
        self.assertIs(None, self.made(f"{FILE}, path: /dev/null"))

        self.logs(f"{FILE}, path: /dev/null", f"{FILE}, path: a, format: x").log(StreamInfo())

        self.assertEqual(
            (["x"], []), tuple(self.files.files[n].records for n in ("a", "/dev/null"))
        )

    def test_failing(self) -> None:
        """A logger that fails is told in the process log, and the others write all the same."""
        self.logs(f"{OTHER}breaks", f"{FILE}, path: a, format: x").log(StreamInfo())

        self.assertEqual(["x"], self.files.files["a"].records)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_held(self) -> None:
        """The loggers are closed once nobody holds them any more."""
        made = self.logs(f"{OTHER}works")
        held = made.hold()
        made.close()
        held.log(StreamInfo())
        held.close()

        self.assertEqual(["other", "closed"], self.files.files["other"].records)
