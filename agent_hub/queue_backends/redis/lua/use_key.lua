-- use: time
-- args: recipient key
-- Note in which order a sender used its keys, and say which are too many (recipient, key...);
-- those of broadcasts are forgotten here, the others stand with their recipients.
local member = ARG.recipient .. ' ' .. ARG.key
local newest = redis.call('ZRANGE', KEY.uses, -1, -1, 'WITHSCORES')[2]
redis.call('ZADD', KEY.uses, math.max(now, (tonumber(newest) or 0) + 0.000001), member)
redis.call('EXPIRE', KEY.uses, math.ceil(LIMITS.idempotency_seconds) + 60)
local surplus = redis.call('ZCARD', KEY.uses) - LIMITS.idempotency_keys_per_sender
local answer = {''}
for place, old in ipairs(surplus > 0 and redis.call('ZPOPMIN', KEY.uses, surplus) or {}) do
  if place % 2 == 1 then
    local recipient, key = string.match(old, '^(%S+) (.*)$')
    if recipient == 'ALL' then redis.call('HDEL', KEY.casts, key) end
    answer[#answer + 1] = recipient
    answer[#answer + 1] = key
  end
end
return answer
