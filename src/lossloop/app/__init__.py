"""The loop, and the doors to it: HTTP, command line, demo."""
