"""HTTP: routes, schemas, auth, the error table, renderers."""
