"""Decision thresholds of versions: learned from outcomes, registered, and gated like any version."""
