"""Facts in, facts out: the log, the join, the derived state."""
