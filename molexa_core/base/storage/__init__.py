"""Writing and finding files: atomic writes, checksums, provenance, locks, shipped resources."""
