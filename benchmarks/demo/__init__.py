"""The demo, many times over."""
