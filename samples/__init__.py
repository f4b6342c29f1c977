"""Sample recordings, and the scripts behind `make demo` and `make serve`."""
