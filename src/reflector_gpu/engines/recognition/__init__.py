"""Speech to words: one file a family of models, and the catalog of all."""
