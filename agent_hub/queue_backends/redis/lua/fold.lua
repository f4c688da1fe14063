-- use: always
-- args: life dropped
-- What an inbox counted in the life that is over (set aside under `life`) joins the sums, once.
local counts = redis.call('HGET', KEY.folding, ARG.life)
redis.call('HDEL', KEY.folding, ARG.life)
if not counts or ARG.dropped ~= '1' then return {''} end
redis.call('ZADD', KEY.folded, redis.call('INCR', KEY.folds), ARG.life)
redis.call('ZREMRANGEBYRANK', KEY.folded, 0, -10001)
for name, value in pairs(cmsgpack.unpack(counts)) do
  redis.call('HINCRBY', KEY.sums, name, value)
end
return {''}
