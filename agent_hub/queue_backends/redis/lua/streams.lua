-- use: come_due
-- The one stream of this agent: who has the place, until when, and what it holds.
local function take_place(stream)
  local out = monotonic + LIMITS.occupancy_seconds
  redis.call('SET', KEY.place, cmsgpack.pack({stream, out}))
  if ARGV[1] == '' then redis.call('PEXPIRE', KEY.place, math.ceil(LIMITS.occupancy_seconds * 1000)) end
end

-- Give back what streams hold, of one of them or of all but it, without a failure.
local function give_back_streams(stream, all_but)
  if not box then return end
  for _, pair in ipairs(pairs_of(redis.call('ZRANGE', KEY.held, 0, -1))) do
    local record = pair[2]
    if record[STREAM] ~= '' and (record[STREAM] == stream) ~= all_but then
      give_back(pair[1], record, 0)
    end
  end
end
