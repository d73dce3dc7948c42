"""A run as it is recorded: folder, tables, history, progress, provenance."""
