"""Tests of `reflector_gpu.store`."""
