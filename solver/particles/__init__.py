"""The token system: weighted or equal tokens in any dimension."""
