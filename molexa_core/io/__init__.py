"""Readers and writers of all file formats; files are recognised by content and read in chunks."""
