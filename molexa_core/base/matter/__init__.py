"""Elements, isotopes and ions, the flight of ions, bond lengths and explosion energies."""
