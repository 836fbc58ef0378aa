"""Where snapshots go: Prometheus text, the history, OTLP."""
