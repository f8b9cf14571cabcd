"""Environments: recipes, vectors with exact state, small worlds of our own, and recording."""
