"""Training: trainers, their one loop, and the run folder."""
