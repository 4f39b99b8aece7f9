"""What is sent to collectors, and what waits for them: gRPC log services, OpenTelemetry, fluentd.
The stats sinks that have collectors send by the same means.
"""
