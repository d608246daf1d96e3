"""The devices that come with the project; others are found by their entry points."""
