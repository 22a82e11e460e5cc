"""Raw runs: open, inspect, convert, calibrate, and simulate with the virtual experiment."""
