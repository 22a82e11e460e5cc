"""Families of forward models: explosions with parameters that are known only in part."""
