"""Policy (verdict in, decision out: pure) and effects (idempotent)."""
