"""Rollouts in the loop: judged and moved, with gates beside the loss, and each its part of the error."""
