"""Which connections are written down, as Envoy decided it for connections like these."""

from __future__ import annotations

from dataclasses import replace

from envoy.config.accesslog.v3 import accesslog_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.filters import access_log_filter
from tcpmesh.registry import WorkerContext
from tcpmesh.runtime.entries import entry_of_text
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.http_request import HttpRequest
from tcpmesh.values.stream.moment import LogType, Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tests.accesslog.known import LATER, connected, known
from tests.mesh import parse

#: By what Envoy 1.40 did with TCP connections: filters that let all pass.
ALL = """
status_code_filter: {comparison: {op: GE, value: {default_value: 0, runtime_key: k}}}
status_code_filter: {comparison: {op: EQ, value: {default_value: 0, runtime_key: k}}}
status_code_filter: {comparison: {op: LE, value: {default_value: 500, runtime_key: k}}}
duration_filter: {comparison: {op: GE, value: {default_value: 1500}}}
duration_filter: {comparison: {op: LE, value: {default_value: 1500}}}
duration_filter: {comparison: {op: NE, value: {default_value: 1501}}}
not_health_check_filter: {}
runtime_filter: {runtime_key: a, percent_sampled: {numerator: 100}}
or_filter: {filters: [{traceable_filter: {}}, {not_health_check_filter: {}}]}
and_filter: {filters: [{not_health_check_filter: {}}, {not_health_check_filter: {}}]}
grpc_status_filter: {statuses: [UNKNOWN]}
grpc_status_filter: {statuses: [OK], exclude: true}
metadata_filter: {}
log_type_filter: {types: [TcpConnectionEnd]}
log_type_filter: {exclude: true}
"""
#: And some that let none pass.
NONE = """
status_code_filter: {comparison: {op: GE, value: {default_value: 1, runtime_key: k}}}
status_code_filter: {comparison: {op: NE, value: {default_value: 0, runtime_key: k}}}
duration_filter: {comparison: {op: GE, value: {default_value: 1501}}}
duration_filter: {comparison: {op: EQ, value: {default_value: 1}}}
traceable_filter: {}
runtime_filter: {runtime_key: a, percent_sampled: {numerator: 0}}
runtime_filter: {runtime_key: a}
runtime_filter: {runtime_key: a, use_independent_randomness: true}
and_filter: {filters: [{traceable_filter: {}}, {not_health_check_filter: {}}]}
or_filter: {filters: [{traceable_filter: {}}, {traceable_filter: {}}]}
response_flag_filter: {}
response_flag_filter: {flags: [UF]}
grpc_status_filter: {}
grpc_status_filter: {statuses: [OK]}
grpc_status_filter: {statuses: [UNKNOWN], exclude: true}
metadata_filter: {match_if_key_not_found: false}
log_type_filter: {}
log_type_filter: {types: [TcpConnectionStart, NotSet]}
log_type_filter: {types: [TcpConnectionEnd], exclude: true}
"""

#: Of a header field that is not there, as none is in TCP.
HEADERS = {
    "present_match: true": False,
    "present_match: true, invert_match: true": True,
    "present_match: false": True,
    "present_match: false, invert_match: true": False,
    "": False,
    "invert_match: true": True,
    "string_match: {exact: a}": False,
    "string_match: {exact: a}, invert_match: true": False,
    "range_match: {start: -5, end: 5}, invert_match: true": False,
}
#: And where the empty text stands for it.
EMPTY_HEADERS = {
    "string_match: {safe_regex: {regex: '.*'}}": True,
    "string_match: {exact: a}, invert_match: true": True,
    "range_match: {start: -5, end: 5}": False,
    "safe_regex_match: {regex: 'a?'}": True,
}

#: Of metadata: a path, what is demanded of what is there, and whether that passes.
METADATA = (
    ("nope", "present_match: true", True),
    ("word", "string_match: {exact: x y}", True),
    ("word", "string_match: {exact: x}", False),
    ("word", "present_match: true", True),
    ("word", "present_match: false", False),
    ("word", "or_match: {value_matchers: [{bool_match: true}, {string_match: {prefix: x}}]}", True),
    ("word", "double_match: {exact: 1}", False),
    ("word", "list_match: {one_of: {present_match: true}}", False),
    ("number", "double_match: {range: {start: 3, end: 4}}", True),
    ("number", "double_match: {range: {start: 2, end: 3}}", False),
    ("number", "bool_match: true", False),
    ("deep:list", "list_match: {one_of: {double_match: {exact: 1}}}", True),
    ("deep:list", "list_match: {one_of: {null_match: {}}}", True),
    ("deep:list", "list_match: {one_of: {string_match: {exact: '1'}}}", False),
)


def metadata_filter(path: str, value: str, more: str = "") -> str:
    """A filter of metadata."""
    keys = ", ".join(f"{{key: {key}}}" for key in path.split(":"))
    matcher = f"{{filter: ns, path: [{keys}], value: {{{value}}}}}"
    return f"metadata_filter: {{matcher: {matcher}{more}}}"


def context(values: dict[str, str] | None = None) -> WorkerContext:
    """With these runtime values."""
    entries = {key: entry_of_text(value) for key, value in (values or {}).items()}
    return WorkerContext(MemoryNetwork(), Store(), lambda name: None, runtime=Runtime(entries))


def passes(
    text: str,
    info: StreamInfo | None = None,
    at: Moment = LATER,
    values: dict[str, str] | None = None,
) -> bool:
    """Whether a filter lets a connection pass."""
    message = parse(accesslog_pb2.AccessLogFilter, text)
    return access_log_filter(message, context(values))(info or known(), at)


class FilterTests(SynchronousTestCase):
    """What filters let pass."""

    def test_all(self) -> None:
        """What lets each connection pass in Envoy does so here."""
        for text in ALL.strip().splitlines():
            self.assertTrue(passes(text), text)

    def test_none(self) -> None:
        """What lets none pass in Envoy does not here."""
        for text in NONE.strip().splitlines():
            self.assertFalse(passes(text), text)

    def test_headers(self) -> None:
        """There is no header field in TCP; an empty text may stand for it."""
        for text, expected in HEADERS.items():
            self.assertIs(passes(f"header_filter: {{header: {{name: x, {text}}}}}"), expected, text)
        for text, expected in EMPTY_HEADERS.items():
            more = f"{text}, treat_missing_header_as_empty: true"
            self.assertIs(passes(f"header_filter: {{header: {{name: x, {more}}}}}"), expected, text)

    def test_metadata(self) -> None:
        """Dynamic metadata is found by its path; of what is not there the default decides."""
        for path, value, expected in METADATA:
            self.assertIs(passes(metadata_filter(path, value)), expected, (path, value))
        otherwise = ", match_if_key_not_found: false"
        for path in ("nope", "word:x", "nope:x"):
            for value in ("present_match: true", "null_match: {}"):
                self.assertFalse(passes(metadata_filter(path, value, otherwise)))

    def test_inverted_metadata(self) -> None:
        """`invert` of a matcher has no effect, as in Envoy."""
        text = metadata_filter("word", "string_match: {exact: x}")
        self.assertFalse(passes(text.replace("{filter: ns,", "{filter: ns, invert: true,")))

    def test_flags(self) -> None:
        """A filter of flags wants one of those that it names, or any."""
        info = known()
        info.flags = ResponseFlag.UF | ResponseFlag.URX
        wanted = {
            "{}": True,
            "{flags: [UF]}": True,
            "{flags: [UH, URX]}": True,
            "{flags: [UH]}": False,
        }
        for flags, expected in wanted.items():
            self.assertIs(passes(f"response_flag_filter: {flags}", info), expected, flags)
        for flag in ResponseFlag:
            info.flags = flag
            self.assertTrue(passes(f"response_flag_filter: {{flags: [{flag.name}]}}", info))

    def test_log_types(self) -> None:
        """A filter of kinds of records knows all of them by Envoy's names."""
        for kind in LogType:
            at = replace(LATER, log_type=kind)
            text = f"log_type_filter: {{types: [{kind.value}]}}"
            self.assertTrue(passes(text, at=at))
            self.assertFalse(passes(f"{text[:-1]}, exclude: true}}", at=at))

    def test_runtime(self) -> None:
        """The runtime has other values than the configuration, at any time."""
        text = "duration_filter: {comparison: {op: GE, value: {default_value: 1, runtime_key: k}}}"
        self.assertTrue(passes(text))
        self.assertFalse(passes(text, values={"k": "1501"}))
        text = "runtime_filter: {runtime_key: k, percent_sampled: {numerator: 100}}"
        self.assertFalse(passes(text, values={"k": "0"}))

    def test_share(self) -> None:
        """Of a share of the connections, all records of one are in it or none is, in each log
        alike: the first eight digits of its stream id decide, as in Envoy.
        """
        ids = {
            "222af7c0-d034-4610-ae93-2c088fdf5e5d": (False, True),
            "00000031-d034-4610-ae93-2c088fdf5e5d": (True, True),
            "00000064-d034-4610-ae93-2c088fdf5e5d": (True, True),
            "000000b6-d034-4610-ae93-2c088fdf5e5d": (False, True),
        }
        for stream_id, expected in ids.items():
            info = known()
            info._stream_id = stream_id
            self.assertEqual(
                tuple(
                    passes(f"runtime_filter: {{runtime_key: k, percent_sampled: {percent}}}", info)
                    for percent in (
                        "{numerator: 50}",
                        "{numerator: 5000, denominator: TEN_THOUSAND}",
                    )
                ),
                expected,
                stream_id,
            )

    def test_duration(self) -> None:
        """The duration of a connection that has ended is that of its life."""
        text = "duration_filter: {comparison: {op: EQ, value: {default_value: 1250}}}"
        self.assertTrue(passes(text, connected()))

    def test_ranges(self) -> None:
        """A header field is in a range if it is a number of 64 bits as Envoy reads one."""
        least = -(2**63)
        text = f"header_filter: {{header: {{name: x, range_match: {{start: {least}, end: 100}}}}}}"
        in_range = ("7", "+7", " 99 ", f"{least}", "0" * 5000 + "7")
        for value in (*in_range, "100", f"{least - 1}", "7a", "", "1" * 5000):
            request = HttpRequest("GET", "/", "HTTP/1.1", 200, {"x": value})
            at = Moment(1.0, 1.0, LogType.DOWNSTREAM_END, request)
            self.assertIs(passes(text, at=at), value in in_range, value[:30])

    def test_requests(self) -> None:
        """Of a request to the admin interface there is a status, and header fields."""
        request = HttpRequest("GET", "/stats", "HTTP/1.1", 404, {"x": "7", "host": "h"})
        at = Moment(1.0, 1.0, LogType.DOWNSTREAM_END, request)
        for text in (
            "status_code_filter: {comparison: {op: EQ, value: {default_value: 404}}}",
            "header_filter: {header: {name: X, exact_match: '7'}}",
            "header_filter: {header: {name: x, range_match: {start: 7, end: 8}}}",
            "header_filter: {header: {name: ':path', prefix_match: /st}}",
            "header_filter: {header: {name: ':path', suffix_match: ats}}",
            "header_filter: {header: {name: ':authority', contains_match: h}}",
            "header_filter: {header: {name: x, exact_match: '8', invert_match: true}}",
            "header_filter: {header: {name: x, present_match: true}}",
        ):
            self.assertTrue(passes(text, at=at), text)
        self.assertFalse(passes("header_filter: {header: {name: x, range_match: {end: 7}}}", at=at))
