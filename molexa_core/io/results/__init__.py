"""Files of molexa's own: what the stages write and the next ones read."""
