"""Words while somebody speaks."""
