"""Readers and writers, one file per format, chunked; formats are told apart by content."""
