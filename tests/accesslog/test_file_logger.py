"""Loggers of lines: what their messages ask for."""

from __future__ import annotations

from envoy.extensions.access_loggers.file.v3 import file_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.file_logger import FileLogger, lines_of
from tcpmesh.accesslog.opening import CannotLog
from tcpmesh.registry import MainContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.access_logs import MemoryAccessLogs
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.wanted import NOTHING, Wanted
from tests.mesh import parse

NOW = Moment(0, 1795541510.442)


class LinesTests(SynchronousTestCase):
    """What a `FileAccessLog` writes."""

    def said(self, fields: str) -> str:
        """The line for an empty connection."""
        return lines_of(parse(file_pb2.FileAccessLog, fields)).format(StreamInfo(), NOW)

    def test_default(self) -> None:
        """Without a format, or with an empty one of old times, Envoy's default."""
        line = '[2026-11-24T17:31:50.442Z] "- - -" 0 - 0 0 0 - "-" "-" "-" "-" "-"\n'
        self.assertEqual(line, self.said("{}"))
        self.assertEqual(line, self.said("format: ''"))

    def test_old_formats(self) -> None:
        """A text of old times gets no line end, an object one."""
        self.assertEqual("0|", self.said("format: '%BYTES_SENT%|'"))
        for field in ("json_format", "typed_json_format"):
            self.assertEqual(
                '{"a":{"b":0},"c":"x0"}\n',
                self.said(f"{field}: {{c: x%BYTES_SENT%, a: {{b: '%BYTES_SENT%'}}}}"),
            )

    def test_log_format(self) -> None:
        """A `log_format` says what it says, be it nothing."""
        self.assertEqual("", self.said("log_format: {text_format: ''}"))
        self.assertEqual("0", self.said("log_format: {text_format: '%BYTES_SENT%'}"))


class LoggerTests(SynchronousTestCase):
    """Loggers."""

    def logger(self, fields: str, **context: object) -> FileLogger:
        """One that writes to `log`."""
        made = MainContext(MemoryNetwork(), Store(), **context)  # type: ignore[arg-type]
        return FileLogger("log", lines_of(parse(file_pb2.FileAccessLog, fields)), made)

    def test_wants(self) -> None:
        """What has to be found out while the sockets are open is told by the operators, wherever
        they stand.
        """
        for fields, wanted in (
            ("{}", NOTHING),
            ("format: '%DOWNSTREAM_REMOTE_ADDRESS%'", Wanted.REMOTE_ADDRESS),
            ("json_format: {a: [{b: '%UPSTREAM_LOCAL_PORT%'}]}", Wanted.UPSTREAM_ADDRESSES),
            ("log_format: {text_format: '%TCPMESH(close_reason)%'}", Wanted.IDLE),
            ("json_format: {a: ['x%TCPMESH(close_reason)%']}", Wanted.IDLE),
            ("log_format: {json_format: {a: '%DOWNSTREAM_LOCAL_ADDRESS%'}}", Wanted.LOCAL_ADDRESS),
        ):
            logger = self.logger(fields, access_logs=MemoryAccessLogs())
            self.assertEqual(wanted, logger.wants, fields)

    def test_cannot_open(self) -> None:
        """A file that cannot be opened is said in one line."""
        error = self.assertRaises(CannotLog, self.logger, "{}")
        self.assertEqual("cannot open the access log 'log': there are no files here", str(error))
