"""How it is solved: attention, density, particles, projection, transport distances and the command line."""
