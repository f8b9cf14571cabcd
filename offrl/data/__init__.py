"""Logged and replayed experience: from files and environments to batches."""
