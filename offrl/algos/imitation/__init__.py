"""Learning to act as the data did."""
