-- use: always come_due
-- args: ids mode
-- Settle what is owed of these ids (a MessagePack list), leased or ready again.
if not box then return {''} end
come_due()

local ids = cmsgpack.unpack(ARG.ids)
local leased, ready, seen = {}, {}, {}
for place, record in ipairs(read_all(ids)) do
  local id = ids[place]
  local state = record and not seen[id] and record[STATE]
  seen[id] = true
  if state == 'leased' then
    leased[#leased + 1] = {id, record}
    local wait = find_wait(record[LEASE])
    if wait then wait.settled = true end
  elseif state == 'ready' then
    ready[#ready + 1] = {id, record}
  end
end
unhold_all(leased)
-- For readers whose lease ran out, or who only looked: in their order.
table.sort(ready, function(one, other) return one[2][SEQ] < other[2][SEQ] end)
for _, pair in ipairs(ready) do
  redis.call('ZREM', KEY.ready, pair[1])
  leased[#leased + 1] = pair
end
keep_all(leased, ARG.mode)

local answers = {}
for place, pair in ipairs(leased) do
  answers[2 * place - 1], answers[2 * place] = pair[1], number(pair[2][AT])
end
return done(unpack(answers))
