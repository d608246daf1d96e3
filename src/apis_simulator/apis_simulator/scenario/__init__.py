"""Stories told to the simulator in virtual time, and what must be true of them."""
