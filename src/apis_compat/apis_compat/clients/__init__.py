"""The HTTP interfaces of the original's apis-web and main controller, for existing clients."""
