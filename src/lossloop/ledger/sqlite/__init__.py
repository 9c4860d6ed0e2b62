"""Derived state in one SQLite file, with large chunks as Arrow files beside it."""
