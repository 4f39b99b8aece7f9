"""The bootstrap's own fields, and those of messages that all parts of a configuration use."""

from __future__ import annotations

from tcpmesh.config.support.rows import YES, Rows, no_effect, only

BOOTSTRAP: dict[str, Rows] = {
    "envoy.config.bootstrap.v3.Bootstrap": {
        "node": YES,
        "static_resources": YES,
        "cluster_manager": YES,
        "stats_flush_interval": YES,
        "stats_flush_on_admin": YES,
        "stats_sinks": YES,
        "stats_eviction_interval": no_effect(
            "Envoy removes only what the stats access logger has made"
        ),
        "stats_config": YES,
        "stats_server_version_override": YES,
        "enable_dispatcher_stats": no_effect(
            "the event loop is Twisted's, which does not tell how long its turns are"
        ),
        "deferred_stat_options": no_effect("what nothing moves takes no memory in any case"),
        "typed_dns_resolver_config": YES,
        "dns_resolution_config": YES,
        "use_tcp_for_dns_lookups": YES,
        "admin": YES,
        "bootstrap_extensions": YES,
        "layered_runtime": YES,
        "overload_manager": YES,
        "application_log_config": YES,
        "dynamic_resources": YES,
        "watchdog": YES,
        "watchdogs": YES,
    },
    "envoy.config.bootstrap.v3.Watchdogs": {"main_thread_watchdog": YES, "worker_watchdog": YES},
    "envoy.config.bootstrap.v3.Watchdog": {
        "miss_timeout": YES,
        "megamiss_timeout": YES,
        "kill_timeout": YES,
        "max_kill_timeout_jitter": no_effect(
            "only a worker is ended, and another one takes its place at once"
        ),
    },
    "envoy.config.bootstrap.v3.Bootstrap.DynamicResources": {
        "lds_config": YES,
        "cds_config": YES,
    },
    "envoy.config.core.v3.WatchedDirectory": {"path": YES, "watch_modify": YES},
    "envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig": {"log_format": YES},
    "envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig.LogFormat": {
        "json_format": YES,
        "text_format": YES,
    },
    "envoy.config.bootstrap.v3.LayeredRuntime": {"layers": YES},
    "envoy.config.bootstrap.v3.RuntimeLayer": {
        "name": YES,
        "static_layer": YES,
        "disk_layer": YES,
        "admin_layer": YES,
        "rtds_layer": YES,
    },
    "envoy.config.bootstrap.v3.RuntimeLayer.RtdsLayer": {"name": YES, "rtds_config": YES},
    "envoy.config.bootstrap.v3.RuntimeLayer.DiskLayer": {
        "symlink_root": YES,
        "subdirectory": YES,
        "append_service_cluster": YES,
    },
    "envoy.config.bootstrap.v3.RuntimeLayer.AdminLayer": {},
    "envoy.config.bootstrap.v3.ClusterManager": {
        "upstream_bind_config": YES,
        "local_cluster_name": YES,
        "outlier_detection": YES,
    },
    "envoy.config.bootstrap.v3.ClusterManager.OutlierDetection": {"event_log_path": YES},
    "envoy.config.metrics.v3.StatsConfig": {
        "stats_tags": YES,
        "use_all_default_tags": YES,
        "allow_default_tag_overrides": YES,
        "stats_matcher": YES,
        "histogram_bucket_settings": YES,
    },
    "envoy.config.metrics.v3.TagSpecifier": {"tag_name": YES, "regex": YES, "fixed_value": YES},
    "envoy.config.metrics.v3.StatsMatcher": {
        "reject_all": YES,
        "exclusion_list": YES,
        "inclusion_list": YES,
    },
    "envoy.type.matcher.v3.ListStringMatcher": {"patterns": YES},
    "envoy.config.metrics.v3.HistogramBucketSettings": {
        "match": YES,
        "buckets": YES,
        "bins": no_effect("room for bins is made as they are needed"),
    },
    "envoy.config.metrics.v3.StatsSink": {
        "name": no_effect("a label: the @type decides"),
        "typed_config": YES,
    },
    "envoy.config.bootstrap.v3.Bootstrap.StaticResources": {
        "listeners": YES,
        "clusters": YES,
        "secrets": YES,
    },
    "envoy.config.bootstrap.v3.Admin": {
        "address": YES,
        "access_log": YES,
        "access_log_path": YES,
        "profile_path": YES,
        "socket_options": YES,
        "ignore_global_conn_limit": no_effect(
            "the clients of the admin interface never count against the limit of all"
        ),
        "allow_paths": YES,
    },
    "envoy.config.core.v3.Node": {
        "id": YES,
        "cluster": YES,
        "metadata": YES,
        "locality": YES,
    },
}

_OVERLOAD = "envoy.config.overload.v3."

OVERLOAD: dict[str, Rows] = {
    f"{_OVERLOAD}OverloadManager": {
        "refresh_interval": YES,
        "resource_monitors": YES,
        "actions": YES,
        "loadshed_points": YES,
        "buffer_factory_config": no_effect(
            "it says which streams of HTTP/2 reset_high_memory_stream looks at"
        ),
    },
    f"{_OVERLOAD}ResourceMonitor": {"name": YES, "typed_config": YES},
    f"{_OVERLOAD}OverloadAction": {"name": YES, "triggers": YES, "typed_config": YES},
    f"{_OVERLOAD}LoadShedPoint": {"name": YES, "triggers": YES},
    f"{_OVERLOAD}Trigger": {"name": YES, "threshold": YES, "scaled": YES},
    f"{_OVERLOAD}ThresholdTrigger": {"value": YES},
    f"{_OVERLOAD}ScaledTrigger": {"scaling_threshold": YES, "saturation_threshold": YES},
    f"{_OVERLOAD}ScaleTimersOverloadActionConfig.ScaleTimer": {
        "timer": YES,
        "min_timeout": YES,
        "min_scale": YES,
    },
}

CORE: dict[str, Rows] = {
    "envoy.config.core.v3.Locality": {"region": YES, "zone": YES, "sub_zone": YES},
    "envoy.config.core.v3.Address": {
        "socket_address": YES,
        "pipe": YES,
        "envoy_internal_address": YES,
    },
    "envoy.config.core.v3.EnvoyInternalAddress": {
        "server_listener_name": YES,
        "endpoint_id": YES,
    },
    "envoy.config.core.v3.SocketAddress": {
        "protocol": only("TCP"),
        "address": YES,
        "port_value": YES,
        "ipv4_compat": YES,
        "network_namespace_filepath": YES,
    },
    "envoy.config.core.v3.Metadata": {
        "filter_metadata": YES,
        "typed_filter_metadata": no_effect("a label: nothing reads metadata of a type"),
    },
    "envoy.config.core.v3.Pipe": {"path": YES, "mode": YES},
    "envoy.config.core.v3.BackoffStrategy": {"base_interval": YES, "max_interval": YES},
    "envoy.config.core.v3.TransportSocket": {
        "name": no_effect("a label: the @type decides"),
        "typed_config": YES,
    },
    "envoy.config.core.v3.RuntimeDouble": {"default_value": YES, "runtime_key": YES},
    "envoy.config.core.v3.RuntimeUInt64": {"default_value": YES, "runtime_key": YES},
    "envoy.type.v3.Percent": {"value": YES},
}
