"""Wasserstein distances on line, circle, sphere and flat space, with bounds."""
