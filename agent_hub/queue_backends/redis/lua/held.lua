-- use: come_due
-- What a lease holds of the named messages; of '', all. What answers a wait goes by `close_wait`.
local function held_by(lease, names)
  if find_wait(lease) then return {} end
  local ids = names == '' and ids_of(lease) or cmsgpack.unpack(names)
  local held, seen = {}, {}
  for place, record in ipairs(read_all(ids)) do
    local id = ids[place]
    if record and record[LEASE] == lease and record[STATE] == 'leased' and not seen[id] then
      held[#held + 1], seen[id] = {id, record}, true
    end
  end
  return held
end
