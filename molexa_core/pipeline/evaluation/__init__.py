"""Accuracy of a network and coverage of its error bars."""
