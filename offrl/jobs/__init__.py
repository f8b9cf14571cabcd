"""What `offrl JOB` runs, each read like a recipe."""
