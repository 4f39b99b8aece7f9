"""What is shown of a running proxy: plain values that know nothing of others."""
