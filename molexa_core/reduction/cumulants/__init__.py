"""Covariances and higher cumulants of the numbers of ions, for rates too high for coincidences."""
