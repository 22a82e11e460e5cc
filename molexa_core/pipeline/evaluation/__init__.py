"""How good a network is, and how honest its error bars."""
