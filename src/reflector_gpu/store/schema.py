"""The tables. A statement that has been released is never changed: add another one."""

from __future__ import annotations

STATEMENTS = (
    # Jobs, as clients see them. `worker` holds the job until `lease`, as a time.
    """CREATE TABLE jobs (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL,
        priority BIGINT NOT NULL, created DOUBLE PRECISION NOT NULL,
        started DOUBLE PRECISION, finished DOUBLE PRECISION,
        name TEXT NOT NULL, url TEXT, options TEXT NOT NULL, metadata TEXT NOT NULL,
        idempotency_key TEXT, fingerprint TEXT NOT NULL, webhook_url TEXT,
        duration DOUBLE PRECISION, position DOUBLE PRECISION NOT NULL,
        resumed DOUBLE PRECISION, resumed_at DOUBLE PRECISION NOT NULL,
        due DOUBLE PRECISION NOT NULL, deaths BIGINT NOT NULL, failures BIGINT NOT NULL,
        worker TEXT, lease DOUBLE PRECISION, error TEXT, model TEXT,
        UNIQUE (owner, idempotency_key)
    )""",
    "CREATE INDEX jobs_waiting ON jobs (status, priority DESC, id)",
    "CREATE INDEX jobs_owned ON jobs (owner, id)",
    # What is left of a job's work if its server dies: chunks by a digest of their samples.
    """CREATE TABLE recognitions (
        job TEXT NOT NULL, digest TEXT NOT NULL, body BYTEA NOT NULL, PRIMARY KEY (job, digest)
    )""",
    """CREATE TABLE parts (
        job TEXT NOT NULL, number BIGINT NOT NULL, body BYTEA NOT NULL, PRIMARY KEY (job, number)
    )""",
    "CREATE TABLE results (job TEXT PRIMARY KEY, body BYTEA NOT NULL)",
    # Webhooks that have not arrived. A server that tries one moves `due` so that no other does.
    """CREATE TABLE deliveries (
        id TEXT PRIMARY KEY, job TEXT NOT NULL, host TEXT NOT NULL,
        created DOUBLE PRECISION NOT NULL, due DOUBLE PRECISION NOT NULL, attempts BIGINT NOT NULL
    )""",
    "CREATE INDEX deliveries_due ON deliveries (due)",
    "CREATE TABLE webhook_secrets (owner TEXT PRIMARY KEY, secret TEXT NOT NULL)",
    """CREATE TABLE uploads (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, length BIGINT NOT NULL, name TEXT NOT NULL,
        metadata TEXT NOT NULL, expires DOUBLE PRECISION NOT NULL
    )""",
    "CREATE INDEX uploads_owned ON uploads (owner)",
    """CREATE TABLE files (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, purpose TEXT NOT NULL,
        size BIGINT NOT NULL, created DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION NOT NULL
    )""",
    """CREATE TABLE api_keys (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL,
        daily_audio_seconds DOUBLE PRECISION, created DOUBLE PRECISION NOT NULL,
        revoked DOUBLE PRECISION
    )""",
    """CREATE TABLE used (
        owner TEXT NOT NULL, day TEXT NOT NULL, requests BIGINT NOT NULL,
        audio_seconds DOUBLE PRECISION NOT NULL, PRIMARY KEY (owner, day)
    )""",
    # The server that appends to an upload, until `held`, as a time.
    "ALTER TABLE uploads ADD COLUMN writer TEXT",
    "ALTER TABLE uploads ADD COLUMN held DOUBLE PRECISION",
    # What a job has on disk.
    "ALTER TABLE jobs ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0",
    "CREATE INDEX jobs_unended ON jobs (owner, bytes) WHERE status IN ('queued', 'running')",
    # Lines of batches. `size` is that of the text, of which `body` is the compressed form.
    """CREATE TABLE answers (
        job TEXT NOT NULL, number BIGINT NOT NULL, failed BIGINT NOT NULL, size BIGINT NOT NULL,
        body BYTEA NOT NULL, PRIMARY KEY (job, number)
    )""",
    "ALTER TABLE jobs ADD COLUMN lines_failed BIGINT NOT NULL DEFAULT 0",
    # Recordings, in pieces, where servers share no folder.
    """CREATE TABLE recordings (
        job TEXT NOT NULL, number BIGINT NOT NULL, body BYTEA NOT NULL, PRIMARY KEY (job, number)
    )""",
    # The upload or the file whose bytes a job's recording is, without having any more on disk.
    "ALTER TABLE jobs ADD COLUMN source TEXT",
    "DROP INDEX jobs_unended",
    """CREATE INDEX jobs_unended_of ON jobs (owner, bytes, source)
        WHERE status IN ('queued', 'running')""",
    # Uploads and files, where servers share no folder: what is in them from a position on.
    """CREATE TABLE blobs (
        id TEXT NOT NULL, position BIGINT NOT NULL, body BYTEA NOT NULL, PRIMARY KEY (id, position)
    )""",
    # The words of a part, which those who look at the job see. NULL: they are in `body` alone.
    "ALTER TABLE parts ADD COLUMN text BYTEA",
    # The server that sends a message.
    "ALTER TABLE deliveries ADD COLUMN server TEXT",
)
