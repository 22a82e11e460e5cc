"""False coincidences: ions of different explosions, built by mixing shots (event mixing)."""
