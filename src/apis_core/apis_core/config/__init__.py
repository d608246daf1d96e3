"""Configuration files: checked once, then frozen; and every time limit that follows from them."""
