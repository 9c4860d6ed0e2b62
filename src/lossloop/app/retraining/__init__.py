"""How often to retrain: the past replayed with a model that is trained anew by a schedule, or on alarm."""
