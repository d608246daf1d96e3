"""Everything that a grid says, into an MCAP file, and out of it again."""
