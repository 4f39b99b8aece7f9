"""What access logs send to collectors: gRPC log services, OpenTelemetry, fluentd."""
