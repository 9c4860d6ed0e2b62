"""Steps, runs, cache, schedules, executors. So far: executors."""
