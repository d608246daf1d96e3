"""What all units decide together: who leads, in which operation mode, and what a fault means."""
