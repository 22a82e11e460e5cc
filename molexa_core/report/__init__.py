"""Figures, tables and the page; it shows numbers and computes none."""
