"""What a call is given: coincidences, a run, a channel, a structure, as objects or files."""
