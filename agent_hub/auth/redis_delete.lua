-- KEYS: the entry, the index of its kind. ARGV: the entry's key, now. 1 when it was there.
local ends = redis.call('ZSCORE', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return (ends and (tonumber(ends) or math.huge) > tonumber(ARGV[2])) and 1 or 0
