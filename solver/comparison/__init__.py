"""Density against particles: distances, extra runs, verdict."""
