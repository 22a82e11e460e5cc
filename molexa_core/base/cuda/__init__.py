"""Code for graphics cards: compiled at run time, loaded, launched, and their memory."""
