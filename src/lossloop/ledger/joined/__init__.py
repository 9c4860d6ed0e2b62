"""Predictions and outcomes joined: a model's columns in memory, and the streams that they are kept in."""
