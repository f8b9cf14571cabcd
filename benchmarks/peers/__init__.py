"""One module a competitor. Each runs in that competitor's own environment, so it imports little else."""
