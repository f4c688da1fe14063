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
redis.call('SET', KEY.rate, cmsgpack.pack({tokens, now}))
if ARGV[1] == '' then -- a full bucket is as good as none; a test keeps its own time
  redis.call('PEXPIRE', KEY.rate, math.max(1, math.ceil((burst - tokens) / rate * 1000)))
end
return {'', 1, tostring(tokens)}
