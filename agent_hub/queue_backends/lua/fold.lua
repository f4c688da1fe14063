-- args: life dropped
-- What an inbox counted in the life that is over (set aside under `life`) joins the sums, once.
local counts = redis.call('HGET', KEY.folding, ARG.life)
redis.call('HDEL', KEY.folding, ARG.life)
if counts and ARG.dropped == '1' then
  for name, value in pairs(cmsgpack.unpack(counts)) do
    redis.call('HINCRBY', KEY.sums, name, value)
  end
end
return {''}
