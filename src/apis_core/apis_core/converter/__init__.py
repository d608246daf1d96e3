"""A unit and its own converter: shares of its deals, hold times, limits, counted energy."""
