"""The demo: a year of real flights, served, judged, rolled back and retrained with no human command."""
