-- use: agents
-- args: id status owner rest
-- Register. Who belongs to an owner stays his, also when it registers without naming one.
local known = read_agent(ARG.id)
local owner = known and known[5] or ''
if ARG.owner ~= '' then
  if owner ~= '' and owner ~= ARG.owner then return {'', -1} end
  owner = ARG.owner
end
if not known and redis.call('HLEN', KEY.agents) >= LIMITS.agents then return {'', -2} end
if owner ~= (known and known[5] or '') then
  if owned_by(owner) >= LIMITS.agents_per_owner then return {'', -3} end
  count_owned(owner, 1)
end
write_agent(ARG.id, {
  known and known[1] or redis.call('INCR', KEY.number), known and known[2] or now, now,
  ARG.status, owner, ARG.rest,
})
redis.call('SREM', KEY.nobodys, ARG.id)
if not known then visit_soon(ARG.id) end
return {'', known and 0 or 1}
