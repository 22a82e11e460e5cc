"""Movies of structures: their page with a slider."""
