"""Discovery: listeners and clusters that come, change and go while the proxy runs."""
