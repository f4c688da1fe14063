-- use: always
-- args: group seconds
-- Be the one group of processes that shows the totals, or stay it.
local teller = redis.call('GET', KEY.teller)
if teller and teller ~= ARG.group then return {'', 0} end
redis.call('SET', KEY.teller, ARG.group, 'EX', ARG.seconds)
return {'', 1}
