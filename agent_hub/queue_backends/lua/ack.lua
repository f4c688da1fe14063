-- use: come_due
-- args: ids mode
-- Settle what is owed of these ids (a MessagePack list), leased or ready again.
if not box then return {''} end
come_due()

local answers = {}
local function acked(id, record)
  keep(id, record, ARG.mode)
  answers[#answers + 1] = id
  answers[#answers + 1] = number(record[AT])
end

local ready = {}
for _, id in ipairs(cmsgpack.unpack(ARG.ids)) do
  local record = read(id)
  if record and record[STATE] == 'leased' then
    unhold(id, record)
    local wait = find_wait(record[LEASE])
    if wait then wait.settled = true end
    acked(id, record)
  elseif record and record[STATE] == 'ready' then
    ready[#ready + 1] = {id, record}
  end
end
-- For readers whose lease ran out, or who only looked: in their order.
table.sort(ready, function(one, other) return one[2][SEQ] < other[2][SEQ] end)
for place, one in ipairs(ready) do
  if place == 1 or ready[place - 1][1] ~= one[1] then
    redis.call('ZREM', KEY.ready, one[1])
    acked(one[1], one[2])
  end
end
return done(unpack(answers))
