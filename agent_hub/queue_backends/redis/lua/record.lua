-- What changes of a message, by its place. Empty strings are for nothing.
local SEQ, SENDER, SIZE, AT, TTL, REPLY, BROADCAST = 1, 2, 3, 4, 5, 6, 7
local ATTEMPTS, FAILURES, STATE, SINCE, LEASE, FAULT, STREAM = 8, 9, 10, 11, 12, 13, 14
