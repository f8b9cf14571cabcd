"""Cloning with a weight on each action."""
