"""Tests of `reflector_gpu.jobs`."""
