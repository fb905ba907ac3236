"""Nets by name, how they are trained, taught and freed of normalization, and the order of their channels."""
