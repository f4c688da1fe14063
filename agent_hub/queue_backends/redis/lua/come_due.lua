-- use: waits
-- Do what time has brought: leases run out, messages expire, waits are over.

-- Who has the place of this agent's stream, and how long it stands unless it is renewed.
local function placed()
  local place = redis.call('GET', KEY.place)
  place = place and cmsgpack.unpack(place)
  return place and place[2] > monotonic and place or nil
end

local function run_out()
  local place = placed()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEY.held, '-inf', monotonic)) do
    local record = read(id)
    if not record then
      redis.call('ZREM', KEY.held, id)
    elseif record[STREAM] == '' then
      give_back(id, record, record[FAULT])
    elseif place and place[1] == record[STREAM] then
      redis.call('ZADD', KEY.held, place[2], id) -- the stream still stands
    else
      give_back(id, record, 0)
    end
  end
end

local function expire()
  repeat
    local over = redis.call('ZRANGEBYSCORE', KEY.due, '-inf', now)
    local ready, kept, rest = {}, {}, {}
    for _, id in ipairs(over) do
      local is_answer = string.sub(id, 1, 1) == '!'
      local record = not is_answer and read(id)
      local state = record and record[STATE]
      if is_answer then
        forget_answer(string.sub(id, 2))
      elseif state == 'kept' then
        kept[#kept + 1] = id
      elseif state == 'ready' then
        ready[#ready + 1] = {id, record}
      elseif not state or state == 'leased' then
        redis.call('ZREM', KEY.due, id) -- what is leased is due again when it is given back
      else
        rest[#rest + 1] = id
      end
    end
    if #kept > 0 then unkeep_all(kept, expires_at) end
    for _, id in ipairs(rest) do
      if redis.call('ZSCORE', KEY.settled, id) then forget_all({id}) end
    end
    table.sort(ready, function(one, other) return one[2][SEQ] < other[2][SEQ] end)
    for _, one in ipairs(ready) do
      redis.call('ZREM', KEY.ready, one[1])
      finish(one[1], one[2], 'expired')
    end
  until #over == 0
end

local function end_waits()
  local over = {}
  for _, wait in ipairs(box.waits) do
    if wait.deadline <= monotonic then over[#over + 1] = wait.question end
  end
  for _, question in ipairs(over) do close_wait(question, false) end
end

local function first_score(key)
  return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) or NEVER
end

local function is_empty()
  return #box.waits == 0
    and redis.call('EXISTS', KEY.ready, KEY.held, KEY.kept, KEY.answered) == 0
end

-- Whether the sweeper has to look at once: to begin or to end the count of an empty inbox.
local function note_emptiness()
  look_again = look_again or is_empty() == not box.empty
end

local function come_due()
  if monotonic < box.runs and now < box.due then return end
  if monotonic >= box.runs then run_out() end
  if now >= box.due then expire() end
  end_waits()
  box.due = first_score(KEY.due)
  box.runs = first_score(KEY.held)
  for _, wait in ipairs(box.waits) do runs_out_at(wait.deadline) end
  note_emptiness()
end
