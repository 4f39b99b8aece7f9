"""The access logs of one place."""

from __future__ import annotations

from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.filters.process_ratelimit.v3 import process_ratelimit_pb2
from google.protobuf import wrappers_pb2
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh import registry
from tcpmesh.accesslog.access_logs import AccessLogs, access_logs
from tcpmesh.extensions.access_loggers.file import FileAccessLog
from tcpmesh.interfaces import IAccessLogger, IMayWriteNothing, ISaysWhatItWants
from tcpmesh.registry import MainContext, UnknownExtension, WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.access_logs import MemoryAccessLogs
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.stream.moment import MOST_TEXT, Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.wanted import EVERYTHING, NOTHING, Wanted
from tests.accesslog.known import known
from tests.config.fields.test_token_buckets import bucket_file
from tests.mesh import parse

FILE = "'@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
OTHER = "'@type': type.googleapis.com/google.protobuf.StringValue, value: "


def to_file(path: str, text: str = "%BYTES_SENT%") -> Any:
    """A log that writes this to a file."""
    message = accesslog_pb2.AccessLog()
    message.typed_config.Pack(file_pb2.FileAccessLog(path=path, format=text))
    return message


def unknown() -> Any:
    """A log of a type that nobody understands."""
    message = accesslog_pb2.AccessLog()
    message.typed_config.type_url = "type.googleapis.com/not.there"
    return message


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

    def test_no_room(self) -> None:
        """Values that there was no room for are counted, once there are any."""
        made = self.logs(f"{FILE}, path: a, format: '%DYNAMIC_METADATA(a:b)%x'")
        info = StreamInfo()
        made.log(info)
        self.assertEqual([], [*self.context.store.counters()])
        info.metadata = {"a": {"b": "x" * MOST_TEXT}}
        made = self.logs(f"{FILE}, path: a, format: '{'%DYNAMIC_METADATA(a:b)%' * 3}'")
        made.log(info)
        self.assertEqual(2, self.context.store.counter("access_logs.values_left_out").tally)

    def test_held(self) -> None:
        """The loggers are closed once nobody holds them any more."""
        made = self.logs(f"{OTHER}works")
        held = made.hold()
        made.close()
        held.log(StreamInfo())
        held.close()

        self.assertEqual(["other", "closed"], self.files.files["other"].records)


class FileTests(SynchronousTestCase):
    """What logs of lines open, and that it is closed."""

    def setUp(self) -> None:
        self.logs = MemoryAccessLogs()
        self.context = WorkerContext(
            MemoryNetwork(), Store(), lambda name: None, access_logs=self.logs
        )

    def users(self) -> dict[str, int]:
        """How many have each file open."""
        return {path: file.users for path, file in self.logs.files.items()}

    def test_all_or_nothing(self) -> None:
        """Where one of the logs cannot be made, those before it are closed."""
        messages = [to_file("a"), unknown()]
        self.assertRaises(UnknownExtension, access_logs, messages, self.context)
        self.assertEqual({"a": 0}, self.users())

    def test_filters(self) -> None:
        """Filters that are extensions are closed with the logs."""
        source = f"{{path_config_source: {{path: {bucket_file(self.mktemp())}}}}}"
        text = f"dynamic_config: {{resource_name: r, config_source: {source}}}"
        message = to_file("a")
        rate: Any = parse(process_ratelimit_pb2.ProcessRateLimitFilter, text)
        message.filter.extension_filter.typed_config.Pack(rate)
        for _ in "12":
            logs = access_logs([message], self.context)
            assert logs is not None
            for _ in range(10):
                logs.log(known())
            logs.close()
        # Closed with the last that has it, the bucket is a full one the next time.
        self.assertEqual(8, len(self.logs.files["a"].records))
