"""Algorithms: one file an idea, grouped by family. They never import `data` or `envs`."""
