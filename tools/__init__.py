"""Small programs for those who work on tcpmesh; no part of what is installed."""
