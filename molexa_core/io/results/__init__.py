"""Molexa's own result files, written by one stage and read by the next."""
