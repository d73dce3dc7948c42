"""The token law as a density: discontinuous Galerkin on the mesh of the token space."""
