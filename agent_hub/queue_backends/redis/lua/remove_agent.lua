-- use: agents
-- args: id
if not read_agent(ARG.id) then return {'', 0} end
deregister(ARG.id)
return {'', 1}
