"""What a run says: metrics, pictures, Weights & Biases."""
