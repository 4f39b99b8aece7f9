"""Statistics: counting them, naming them, and showing them to people, scripts and Prometheus."""
