"""Frozen records, ids, clock and errors: what every other folder may stand on."""
