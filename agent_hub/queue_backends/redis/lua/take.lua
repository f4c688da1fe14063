-- use: time
-- args: cost rate burst
-- Take from a bucket that all nodes share; what is refused costs nothing.
local cost, rate, burst = tonumber(ARG.cost), tonumber(ARG.rate), tonumber(ARG.burst)
local tokens = burst
local kept = redis.call('GET', KEY.rate)
if kept then
  kept = cmsgpack.unpack(kept)
  tokens = math.min(burst, kept[1] + math.max(0, now - kept[2]) * rate)
end
if tokens < math.min(cost, burst) then return {'', 0, tostring(tokens)} end
tokens = tokens - cost
-- A full bucket is as good as none.
local full_in = math.ceil((burst - tokens) / rate * 1000)
redis.call('SET', KEY.rate, cmsgpack.pack({tokens, now}), 'PX', math.max(1, full_in))
return {'', 1, tostring(tokens)}
