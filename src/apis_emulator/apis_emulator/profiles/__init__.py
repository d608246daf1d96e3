"""Sun and load of houses over a year: modelled from a place and a seed, or read from files."""
