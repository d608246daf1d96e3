"""The web page: a picture of the grid, its deals and faults, and the operation mode switch."""
