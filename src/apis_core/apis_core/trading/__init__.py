"""How two units come to a deal, and how many deals a unit may have."""
