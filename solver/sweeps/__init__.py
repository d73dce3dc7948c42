"""Many runs that differ in a few keys: their cells, their tables, and laws fitted to their columns."""
