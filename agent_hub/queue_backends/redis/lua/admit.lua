-- use: agents
-- args: id limited
-- Enter an inbox in the index; one of nobody's only while there are not too many of those.
if redis.call('SISMEMBER', KEY.inboxes, ARG.id) == 1 then return {'', 1} end
if redis.call('HEXISTS', KEY.agents, ARG.id) == 0 then
  local is_full = redis.call('SCARD', KEY.nobodys) >= LIMITS.unregistered_inboxes
  if is_full and ARG.limited == '1' then return {'', 0} end
  redis.call('SADD', KEY.nobodys, ARG.id)
end
redis.call('SADD', KEY.inboxes, ARG.id)
return {'', 1}
