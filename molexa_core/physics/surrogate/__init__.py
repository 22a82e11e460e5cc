"""Learned, fast, differentiable surrogate of the Monte-Carlo model of an X-ray pulse."""
