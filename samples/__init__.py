"""A sample meeting, and the scripts behind `make demo` and `make serve`."""
