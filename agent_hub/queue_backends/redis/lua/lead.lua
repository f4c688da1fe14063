-- use: always
-- args: node seconds
-- Be the one node that sweeps, or stay it.
local leader = redis.call('GET', KEY.leader)
if leader and leader ~= ARG.node then return {'', 0} end
redis.call('SET', KEY.leader, ARG.node, 'EX', ARG.seconds)
return {'', 1}
