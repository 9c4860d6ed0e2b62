"""The processes of `lossloop up`, a module each: none of them loads what only another one needs."""
