"""A contest of detectors on the same simulated streams: how often they are wrong, and how soon right."""
