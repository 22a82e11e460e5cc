"""Runs in ROOT files: trees and RNTuples of hits or edges."""
