"""Units of work: long computations in parts, by several processes, which can be continued."""
