"""Who speaks when: one file or folder a family of models, and the catalog of all."""
