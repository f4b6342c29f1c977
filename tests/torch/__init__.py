"""Parakeet on PyTorch: `make test-torch` runs these, `make test` where PyTorch is installed."""
