-- use: always agents
-- args: id status
-- A sign of life; an empty status leaves it as it was.
local agent = read_agent(ARG.id)
if not agent then return {''} end
agent[3] = now
if ARG.status ~= '' then agent[4] = ARG.status end
return {'', write_agent(ARG.id, agent)}
