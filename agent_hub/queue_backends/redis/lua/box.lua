-- use: read_box
-- How an inbox is made and written back, and what a transition tells.
local NEVER = 1e15

local wakes = {} -- what is told to who watches this inbox
local gone = {} -- what nothing is known of any more, for its sender's records
local ended = false -- whether there is an ending to take note of
local look_again = false -- whether the sweeper has to look at once

local function number(value)
  return string.format('%.17g', value)
end

-- An inbox that was not there.
local function make_box(epoch)
  box = {
    epoch = epoch, seq = 0, gap = 0, order = 0,
    owed = 0, bytes = 0, notices = 0,
    counts = {expired = 0, dead = 0, dropped = 0},
    due = NEVER, runs = NEVER, index = NEVER, empty = false,
    waits = {},
  }
end

local function next_order()
  box.order = box.order + 1
  return box.order
end

-- A member of `due` comes due at a wall time.
local function due_at(time, member)
  redis.call('ZADD', KEY.due, time, member)
  if time < box.due then box.due = time end
end

local function runs_out_at(time)
  if time < box.runs then box.runs = time end
end

local function wake_readers()
  wakes.r = true
end

-- When the sweeper has to come: the next moment that something comes due, in wall time.
local function next_visit()
  if look_again then return 0 end
  local next = math.min(box.due, box.runs - monotonic + now)
  if box.empty then next = math.min(next, box.empty + LIMITS.empty_inbox_seconds) end
  return next
end

-- Write the inbox back, wake, and answer. The first part of the answer is what is left to do
-- in other slots: '' for nothing.
local function done(...)
  local visit = next_visit()
  local earlier = visit < box.index
  if earlier then box.index = visit end
  redis.call('SET', KEY.box, cmsgpack.pack(box))
  for word in pairs(wakes) do redis.pcall('PUBLISH', KEY.box, word) end -- no more than a hint
  local news = ''
  if earlier or ended or #gone > 0 then
    news = cmsgpack.pack({earlier and visit or -1, ended, gone})
  end
  return {news, ...}
end
