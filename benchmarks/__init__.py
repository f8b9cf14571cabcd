"""Speed and learning beside other libraries; see README.md. Nothing in the package imports this."""
