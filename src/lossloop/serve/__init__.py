"""Predict and take outcomes, free of transport; model runtimes."""
