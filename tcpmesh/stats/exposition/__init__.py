"""Statistics as scrapers read them: Prometheus' text and protobuf formats, and OpenMetrics."""
