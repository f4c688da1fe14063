-- KEYS: the entry, the index of its kind (keys by their ends).
-- ARGV: the entry's key, its value, its end or +inf, now, "new", "known" or "".
-- 1 when it was written.
local ends = redis.call('ZSCORE', KEYS[2], ARGV[1])
local there = ends and (tonumber(ends) or math.huge) > tonumber(ARGV[4])
if (there and ARGV[5] == 'new') or (not there and ARGV[5] == 'known') then
    return 0
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('SET', KEYS[1], ARGV[3] .. ' ' .. ARGV[2])
if ARGV[3] ~= '+inf' then
    redis.call('PEXPIREAT', KEYS[1], math.ceil(tonumber(ARGV[3]) * 1000))
end
return 1
