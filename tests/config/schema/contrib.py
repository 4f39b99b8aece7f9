"""The messages of Envoy's contrib build that a TCP proxy may name: the usual binary has them not.

What is written here are the names, the numbers and the types of their fields, as Envoy's public API
has them.  A file is named by its path below `contrib/` and, where that does not follow from it, its
package.  A field is its number, its name and its type; after it stands `!` where it must be given,
`*` where it is secret, and `@` before the name of the oneof that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as _Field
from udpa.annotations import sensitive_pb2
from validate import validate_pb2

_TEXT = """
file envoy/extensions/filters/listener/postgres_inspector/v3alpha/postgres_inspector
message PostgresInspector
1 enable_metadata_extraction google.protobuf.BoolValue
2 max_startup_message_size google.protobuf.UInt32Value
3 startup_timeout google.protobuf.Duration
message StartupMetadata
1 user string
2 database string
3 application_name string

file envoy/extensions/filters/network/client_ssl_auth/v3/client_ssl_auth
message ClientSSLAuth
1 auth_api_cluster string !
2 stat_prefix string !
3 refresh_delay google.protobuf.Duration
4 ip_white_list repeated envoy.config.core.v3.CidrRange

file envoy/extensions/filters/network/golang/v3alpha/golang
message Config
1 is_terminal_filter bool
2 library_id string !
3 library_path string !
4 plugin_name string !
5 plugin_config google.protobuf.Any

file envoy/extensions/filters/network/kafka_broker/v3/kafka_broker
message KafkaBroker
1 stat_prefix string !
2 force_response_rewrite bool
3 id_based_broker_address_rewrite_spec IdBasedBrokerRewriteSpec @broker_address_rewrite_spec
message IdBasedBrokerRewriteSpec
1 rules repeated IdBasedBrokerRewriteRule
message IdBasedBrokerRewriteRule
1 id uint32
2 host string !
3 port uint32

file envoy/extensions/filters/network/kafka_mesh/v3alpha/kafka_mesh
message KafkaMesh
1 advertised_host string !
2 advertised_port int32
3 upstream_clusters repeated KafkaClusterDefinition
4 forwarding_rules repeated ForwardingRule
message KafkaClusterDefinition
1 cluster_name string !
2 bootstrap_servers string !
3 partition_count int32
4 producer_config map
message ForwardingRule
1 target_cluster string
2 topic_prefix string @trigger

file envoy/extensions/filters/network/metadata_exchange/v3/metadata_exchange
package envoy.tcp.metadataexchange.config
message MetadataExchange
1 protocol string
2 enable_discovery bool
3 additional_labels repeated string

file envoy/extensions/filters/network/mysql_proxy/v3/mysql_proxy
message MySQLProxy
1 stat_prefix string !
2 access_log string

file envoy/extensions/filters/network/peer_metadata/v3/peer_metadata
message Config
1 baggage_key string
message UpstreamConfig

file envoy/extensions/filters/network/postgres_proxy/v3alpha/postgres_proxy
message PostgresProxy
enum SSLMode DISABLE REQUIRE ALLOW
1 stat_prefix string !
2 enable_sql_parsing google.protobuf.BoolValue
3 terminate_ssl bool
4 upstream_ssl PostgresProxy.SSLMode
5 downstream_ssl PostgresProxy.SSLMode

file envoy/extensions/filters/network/rocketmq_proxy/v3/route
message RouteConfiguration
1 name string
2 routes repeated Route
message Route
1 match RouteMatch !
2 route RouteAction !
message RouteMatch
1 topic envoy.type.matcher.v3.StringMatcher !
2 headers repeated envoy.config.route.v3.HeaderMatcher
message RouteAction
1 cluster string !
2 metadata_match envoy.config.core.v3.Metadata

file envoy/extensions/filters/network/rocketmq_proxy/v3/rocketmq_proxy
message RocketmqProxy
1 stat_prefix string !
2 route_config RouteConfiguration
3 transient_object_life_span google.protobuf.Duration
4 develop_mode bool

file envoy/extensions/filters/network/sip_proxy/router/v3alpha/router
message Router

file envoy/extensions/filters/network/sip_proxy/tra/v3alpha/tra
message TraServiceConfig
1 grpc_service envoy.config.core.v3.GrpcService !
2 transport_api_version envoy.config.core.v3.ApiVersion
3 timeout google.protobuf.Duration

file envoy/extensions/filters/network/sip_proxy/v3alpha/route
message RouteConfiguration
1 name string
2 routes repeated Route
message Route
1 match RouteMatch !
2 route RouteAction !
message RouteMatch
1 domain string @match_specifier
2 header string
3 parameter string
message RouteAction
1 cluster string ! @cluster_specifier

file envoy/extensions/filters/network/sip_proxy/v3alpha/sip_proxy
message SipProxy
1 stat_prefix string !
2 route_config RouteConfiguration
3 sip_filters repeated SipFilter
4 settings SipProxy.SipSettings
message SipProxy.SipSettings
1 transaction_timeout google.protobuf.Duration
2 local_services repeated LocalService
3 tra_service_config envoy.extensions.filters.network.sip_proxy.tra.v3alpha.TraServiceConfig
4 operate_via bool
message SipFilter
1 name string !
3 typed_config google.protobuf.Any @config_type
message SipProtocolOptions
1 session_affinity bool
2 registration_affinity bool
3 customized_affinity CustomizedAffinity
4 upstream_transactions UpstreamTransactions
message CustomizedAffinity
1 entries repeated CustomizedAffinityEntry
2 stop_load_balance bool
message CustomizedAffinityEntry
1 header string
2 key_name string
3 subscribe bool
4 query bool
5 cache Cache
message Cache
1 max_cache_item int32
2 add_query_to_cache bool
message LocalService
1 domain string
2 parameter string
message UpstreamTransactions
1 enabled bool

file envoy/extensions/config/v3alpha/kv_store_xds_delegate_config
message KeyValueStoreXdsDelegateConfig
1 key_value_store_config envoy.config.common.key_value.v3.KeyValueStoreConfig

file envoy/extensions/load_balancing_policies/peak_ewma/v3alpha/peak_ewma
message PeakEwma
1 decay_time google.protobuf.Duration
2 aggregation_interval google.protobuf.Duration
3 max_samples_per_host google.protobuf.UInt32Value
4 default_rtt google.protobuf.Duration
5 penalty_value google.protobuf.DoubleValue

file envoy/extensions/matching/input_matchers/hyperscan/v3alpha/hyperscan
message Hyperscan
1 regexes repeated Hyperscan.Regex
message Hyperscan.Regex
1 regex string !
2 id uint32
3 caseless bool
4 dot_all bool
5 multiline bool
6 allow_empty bool
7 utf8 bool
8 ucp bool
9 combination bool
10 quiet bool

file envoy/extensions/network/connection_balance/dlb/v3alpha/dlb
message Dlb
enum FallbackPolicy None NopConnectionBalance ExactConnectionBalance
1 id uint32
2 max_retries uint32
3 fallback_policy Dlb.FallbackPolicy

file envoy/extensions/private_key_providers/cryptomb/v3alpha/cryptomb
message CryptoMbPrivateKeyMethodConfig
1 private_key envoy.config.core.v3.DataSource *
2 poll_delay google.protobuf.Duration !

file envoy/extensions/private_key_providers/kae/v3alpha/kae
message KaePrivateKeyMethodConfig
1 private_key envoy.config.core.v3.DataSource *
2 poll_delay google.protobuf.Duration !
3 max_instances google.protobuf.UInt32Value

file envoy/extensions/private_key_providers/qat/v3alpha/qat
message QatPrivateKeyMethodConfig
1 private_key envoy.config.core.v3.DataSource *
2 poll_delay google.protobuf.Duration !

file envoy/extensions/regex_engines/hyperscan/v3alpha/hyperscan
message Hyperscan

file envoy/extensions/stat_sinks/kafka/v3/kafka_stats_sink
enum SerializationFormat JSON PROTOBUF
message KafkaStatsSinkConfig
1 broker_list string !
2 topic string !
3 batch_size uint32
4 report_counters_as_deltas google.protobuf.BoolValue
5 emit_tags_as_labels bool
6 producer_config map
7 buffer_flush_timeout_ms uint32
8 format SerializationFormat

file envoy/extensions/stat_sinks/wasm_filter/v3/wasm_filter
message WasmFilterStatsSinkConfig
1 wasm_config envoy.extensions.wasm.v3.PluginConfig !
2 inner_sink envoy.config.metrics.v3.StatsSink !

file envoy/extensions/tap_sinks/udp_sink/v3alpha/udp_sink
message UdpSink
1 udp_address envoy.config.core.v3.SocketAddress
2 udp_sent_buffer_bytes google.protobuf.UInt32Value
3 udp_max_send_msg_size_bytes google.protobuf.UInt32Value

file envoy/extensions/vcl/v3alpha/vcl_socket_interface
message VclSocketInterface
"""

_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
}


@dataclass(frozen=True)
class Type:
    """Where a message or an enum is described."""

    file: str
    is_enum: bool


def types_of(files: Iterable[FileDescriptorProto]) -> dict[str, Type]:
    """All messages and enums of these files, by full name."""
    return {name: kind for file in files for name, kind in _types(file, file.package, file)}


def _types(
    file: FileDescriptorProto, scope: str, of: FileDescriptorProto | DescriptorProto
) -> Iterator[tuple[str, Type]]:
    yield from ((f"{scope}.{enum.name}", Type(file.name, True)) for enum in of.enum_type)
    for message in of.message_type if isinstance(of, FileDescriptorProto) else of.nested_type:
        yield f"{scope}.{message.name}", Type(file.name, False)
        yield from _types(file, f"{scope}.{message.name}", message)


def contrib_files(known: Mapping[str, Type]) -> list[FileDescriptorProto]:
    """The files of the contrib build.

    :param known: the messages and enums that they may refer to, by full name.
    """
    files: list[FileDescriptorProto] = []
    for text in _TEXT.strip().split("\n\n"):
        head, *lines = text.splitlines()
        files.append(_file(head.split()[1], lines, {**known, **types_of(files)}))
    return files


def _file(path: str, lines: list[str], known: Mapping[str, Type]) -> FileDescriptorProto:
    package = path.rpartition("/")[0].replace("/", ".")
    file = FileDescriptorProto(name=f"contrib/{path}.proto", package=package, syntax="proto3")
    message: DescriptorProto | None = None
    for word, name, *rest in (line.split() for line in lines):
        if word == "package":
            file.package = name
        elif word == "message":
            message = _message(file, name)
        elif word == "enum":
            enum = EnumDescriptorProto(name=name)
            for number, value in enumerate(rest):
                enum.value.add(name=value, number=number)
            (file if message is None else message).enum_type.append(enum)
        else:
            assert message is not None
            message.field.append(_field(message, int(word), name, rest))
    for field in _fields(file):
        _resolve(field, file, {**known, **types_of([file])})
    return file


def _message(file: FileDescriptorProto, name: str) -> DescriptorProto:
    """A message of a file, which may be in another."""
    outer, _, inner = name.rpartition(".")
    if not outer:
        return file.message_type.add(name=inner)
    return next(each for each in file.message_type if each.name == outer).nested_type.add(
        name=inner
    )


def _field(message: DescriptorProto, number: int, name: str, rest: list[str]) -> _Field:
    """A field whose type, where it is no scalar, is a name yet; a map is one of strings."""
    field = _Field(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if rest[0] == "repeated":
        field.label = _Field.LABEL_REPEATED
    kind, *marks = [word for word in rest if word != "repeated"]
    if kind == "map":
        field.label = _Field.LABEL_REPEATED
        kind = f"{message.name}.{_entry(message, name)}"
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type_name = kind
    for mark in marks:
        _mark(message, field, mark)
    return field


def _entry(message: DescriptorProto, name: str) -> str:
    entry = message.nested_type.add(
        name="".join(part.capitalize() for part in name.split("_")) + "Entry"
    )
    entry.options.map_entry = True
    for number, part in enumerate(("key", "value"), 1):
        entry.field.add(
            name=part,
            number=number,
            label=_Field.LABEL_OPTIONAL,
            type=_Field.TYPE_STRING,
        )
    return entry.name


def _mark(message: DescriptorProto, field: _Field, mark: str) -> None:
    rules = field.options.Extensions[validate_pb2.rules] if mark == "!" else None
    if mark == "*":
        field.options.Extensions[sensitive_pb2.sensitive] = True
    elif rules is None:
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=mark[1:])
    elif field.type_name == "google.protobuf.Duration":
        rules.duration.required = True
    elif field.type_name:
        rules.message.required = True
    else:
        rules.string.min_len = 1


def _fields(file: FileDescriptorProto) -> Iterator[_Field]:
    for message in file.message_type:
        yield from message.field
        for inner in message.nested_type:
            yield from inner.field


def _resolve(field: _Field, file: FileDescriptorProto, known: Mapping[str, Type]) -> None:
    """Turn the name of a type into its full name, and let the file depend on the files it needs."""
    needs = {"validate/validate.proto"} if field.options.HasExtension(validate_pb2.rules) else set()
    if field.options.HasExtension(sensitive_pb2.sensitive):
        needs.add("udpa/annotations/sensitive.proto")
    if field.type_name:
        local = f"{file.package}.{field.type_name}"
        full_name = local if local in known else field.type_name
        found = known[full_name]
        field.type_name = f".{full_name}"
        field.type = _Field.TYPE_ENUM if found.is_enum else _Field.TYPE_MESSAGE
        needs.add(found.file)
    file.dependency.extend(sorted(needs - {file.name, *file.dependency}))
