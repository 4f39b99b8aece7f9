"""The access logs of one place: whom they tell, and that what they opened is closed."""

from __future__ import annotations

from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.filters.process_ratelimit.v3 import process_ratelimit_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.access_logs import access_logs
from tcpmesh.registry import UnknownExtension, WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.access_logs import MemoryAccessLogs
from tcpmesh.testing.memory.network import MemoryNetwork
from tests.accesslog.known import known
from tests.config.fields.test_token_buckets import bucket_file
from tests.mesh import parse


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


class AccessLogsTests(SynchronousTestCase):
    """Some logs of one place."""

    def setUp(self) -> None:
        self.logs = MemoryAccessLogs()
        self.context = WorkerContext(
            MemoryNetwork(), Store(), lambda name: None, access_logs=self.logs
        )

    def users(self) -> dict[str, int]:
        """How many have each file open."""
        return {path: file.users for path, file in self.logs.files.items()}

    def test_holders(self) -> None:
        """Files are open until the last one that holds the logs has closed them."""
        logs = access_logs([to_file("a"), to_file("b"), to_file("a")], self.context)
        assert logs is not None
        self.assertIs(logs.hold(), logs)
        logs.close()
        self.assertEqual({"a": 2, "b": 1}, self.users())
        logs.close()
        self.assertEqual({"a": 0, "b": 0}, self.users())

    def test_nothing_to_write(self) -> None:
        """Where all that would be written goes nowhere there are no logs, and nothing is open."""
        self.assertIsNone(access_logs([to_file("/dev/null")], self.context))
        self.assertIsNone(access_logs([], self.context))
        self.assertEqual({"/dev/null": 0}, self.users())

    def test_some_to_nowhere(self) -> None:
        """What goes nowhere is not even asked for, but closed with the others."""
        logs = access_logs([to_file("/dev/null"), to_file("a")], self.context)
        assert logs is not None
        logs.log(known())
        self.assertEqual([], self.logs.files["/dev/null"].records)
        self.assertEqual(["1999"], self.logs.files["a"].records)
        logs.close()
        self.assertEqual({"/dev/null": 0, "a": 0}, self.users())

    def test_all_or_nothing(self) -> None:
        """Where one of the logs cannot be made, those before it are closed."""
        messages = [to_file("a"), unknown()]
        self.assertRaises(UnknownExtension, access_logs, messages, self.context)
        self.assertEqual({"a": 0}, self.users())

    def test_one_fails(self) -> None:
        """A logger that fails keeps the others from nothing, and is written to the process log."""
        logs = access_logs([to_file("a"), to_file("b")], self.context)
        assert logs is not None
        file: Any = self.logs.files["a"]
        logs._logs[0] = (None, lambda info, at: file.records.no_such_thing)
        logs.log(known())
        self.assertEqual(["1999"], self.logs.files["b"].records)
        self.assertEqual(1, len(self.flushLoggedErrors(AttributeError)))

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
