"""Acting by the values of discrete actions."""
