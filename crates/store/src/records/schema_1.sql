-- Every row says in whose scope it was written.
CREATE TABLE actions (
    key TEXT NOT NULL,
    scope TEXT NOT NULL,
    result TEXT NOT NULL,
    PRIMARY KEY (key, scope)
) STRICT, WITHOUT ROWID;

CREATE TABLE epochs (
    key TEXT NOT NULL,
    scope TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    PRIMARY KEY (key, scope)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    run TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL,
    events INTEGER NOT NULL,
    state TEXT NOT NULL
) STRICT;

CREATE TABLE events (
    run INTEGER NOT NULL REFERENCES runs (ordinal),
    seq INTEGER NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE durations (
    scope TEXT NOT NULL,
    series_group TEXT NOT NULL,
    name TEXT NOT NULL,
    durations TEXT NOT NULL,
    PRIMARY KEY (scope, series_group, name)
) STRICT, WITHOUT ROWID;

-- The two caches of working trees hold facts about files of this machine, by
-- inode; they say nothing about whose code is in them and so have no scope.
CREATE TABLE file_digests (
    root TEXT NOT NULL,
    path TEXT NOT NULL,
    inode INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    ctime INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (root, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
    fingerprint TEXT PRIMARY KEY NOT NULL,
    tree TEXT NOT NULL
) STRICT, WITHOUT ROWID;
