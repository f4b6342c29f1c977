"""Work that outlives its server: durable jobs over a database and a private folder."""
