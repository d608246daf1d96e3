"""Tries every schedule within limits, breadth first, on the real core."""
