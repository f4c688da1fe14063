-- Version 1. The journal: what happened, in order, one checksummed record for each commit.
-- Records are dense: `marks.first` is the oldest one, `marks.closed` the newest at the last clean
-- stop, so that a missing one shows at either end.
CREATE TABLE journal (
    number INTEGER PRIMARY KEY,
    record BLOB NOT NULL
);
CREATE TABLE marks (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO marks VALUES ('first', 1), ('closed', 0);
