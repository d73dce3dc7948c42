"""The push-forward target: spectrum, rates, limit law and the zero-temperature flow."""
