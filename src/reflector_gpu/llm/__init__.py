"""Language models behind one interface, whether they run in workers or on another server."""
