"""The endpoints, one module per feature: each parses, calls one service, and shapes the answer."""
