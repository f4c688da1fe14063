-- What time it is: as the caller says, in a test; else by the clock of the store, for all nodes.
local now, monotonic = tonumber(ARGV[1]), tonumber(ARGV[2])
if not now then
  local clock = redis.call('TIME')
  now = clock[1] + clock[2] / 1000000
  monotonic = now
end
