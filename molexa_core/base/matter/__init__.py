"""Elements, isotopes and ions, and what follows from them alone."""
