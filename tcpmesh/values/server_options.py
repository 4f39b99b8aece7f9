"""The command line as a value: what `twistd tcpmesh` was asked to do, under Envoy's names."""

from __future__ import annotations

from tcpmesh.facts import dataclass


@dataclass(frozen=True)
class ServerOptions:
    """Options of the command line.  Times are seconds unless the name says otherwise; names and
    defaults are Envoy's.
    """

    config_path: str = ""
    config_yaml: str = ""
    mode: str = "serve"
    concurrency: int = 1
    log_level: str = "info"
    component_log_level: str = ""
    log_path: str = ""
    log_format: str = "[%Y-%m-%d %T.%e][%t][%l][%n] %v"
    log_format_escaped: bool = False
    service_cluster: str = ""
    service_node: str = ""
    service_zone: str = ""
    admin_address_path: str = ""
    admin_name: tuple[str, ...] = ()
    drain_time_s: int = 600
    drain_strategy: str = "gradual"
    parent_shutdown_time_s: int = 900
    graceful_stop_time_s: int = 0
    file_flush_interval_msec: int = 10000
    file_flush_min_size_kb: int = 64
    stats_tag: tuple[str, ...] = ()
    restart_epoch: int = 0
    base_id: int = 0
    use_dynamic_base_id: bool = False
    base_id_path: str = ""
    socket_path: str = "@tcpmesh_domain_socket"
    socket_mode: int = 0o600
    skip_hot_restart_on_no_parent: bool = False
    skip_hot_restart_parent_stats: bool = False
    live_handover: str = "on"
    allow_unknown_static_fields: bool = False
    reject_unknown_dynamic_fields: bool = False
    ignore_unknown_dynamic_fields: bool = False
    disable_hot_restart: bool = False
    allow_unsupported: bool = False
    skip_deprecated_logs: bool = False

    @property
    def moves_clients(self) -> bool:
        """Whether clients go from a process to the one that takes over."""
        return self.live_handover == "on"

    @property
    def stats_tags(self) -> dict[str, str]:
        """The tags that every statistic has by the command line; of one name the first counts."""
        tags: dict[str, str] = {}
        for text in self.stats_tag:
            tag, _, value = text.partition(":")
            tags.setdefault(tag, value)
        return tags

    @property
    def node_arguments(self) -> dict[str, str]:
        """The options that stand for fields of the node, by their names on the command line."""
        return {
            "service-cluster": self.service_cluster,
            "service-node": self.service_node,
            "service-zone": self.service_zone,
        }
