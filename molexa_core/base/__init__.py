"""What every room shares: errors, units, elements, ions, tables, settings, provenance, progress."""
