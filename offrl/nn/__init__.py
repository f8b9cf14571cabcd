"""Networks, policy heads, and what moves them."""
