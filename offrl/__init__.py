"""offrl: a config-driven experiment tool for reinforcement learning, offline and online."""

__version__ = "0.1.0"
