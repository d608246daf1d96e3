"""A window for rqt: units, deals, modes, faults. It also runs alone."""
