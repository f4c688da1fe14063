-- use: time
-- The inbox itself: its sums, its open waits, and when something comes due in it. What it holds of
-- messages stands in keys of their own.
local box = redis.call('GET', KEY.box)
box = box and cmsgpack.unpack(box)

-- Count for the totals: 'accepted <via> <kind>', 'acked <mode>', or how else a message ended.
local function tally(name)
  box.counts[name] = (box.counts[name] or 0) + 1
end
