-- Version 1. What must outlive a process, by kind and key. Times are seconds since the epoch.
CREATE TABLE entries (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    expires_at REAL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
