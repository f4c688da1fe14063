-- use: always agents
-- args: limit
-- Registrations that are over end; then which inboxes are due for a visit, each with whether
-- its agent is registered.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEY.seen, '-inf',
                               now - LIMITS.registration_seconds)) do
  deregister(id)
end
local answer = {''}
local due = redis.call('ZRANGEBYSCORE', KEY.visits, '-inf', now, 'LIMIT', 0, ARG.limit)
for _, id in ipairs(due) do
  redis.call('ZREM', KEY.visits, id)
  answer[#answer + 1] = id
  answer[#answer + 1] = redis.call('HEXISTS', KEY.agents, id)
end
return answer
