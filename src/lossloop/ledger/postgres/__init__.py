"""PostgreSQL as log and store: several servers and several appliers on one database.

Partitions of the facts are leased by appliers; a token fences off whoever has lost its lease.
"""
