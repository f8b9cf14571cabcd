"""Value learning that distrusts what the data does not show."""
