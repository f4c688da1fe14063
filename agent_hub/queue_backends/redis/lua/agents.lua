-- use: time
-- The register. A registration: its number, when it came, its last sign of life, its status,
-- its owner ('' for none), and the rest as its writer wrote it.
local function read_agent(id)
  local packed = redis.call('HGET', KEY.agents, id)
  return packed and cmsgpack.unpack(packed)
end

local function write_agent(id, agent)
  local packed = cmsgpack.pack(agent)
  redis.call('HSET', KEY.agents, id, packed)
  redis.call('ZADD', KEY.seen, agent[3], id)
  return packed
end

-- Have the sweeper look at an agent's inbox, if it has one.
local function visit_soon(id)
  if redis.call('SISMEMBER', KEY.inboxes, id) == 1 then
    redis.call('ZADD', KEY.visits, 'LT', 0, id)
    return true
  end
end

-- How many agents each owner has. Those from before this was counted are not in it.
local function owned_by(owner)
  return tonumber(redis.call('HGET', KEY.owned, owner)) or 0
end

local function count_owned(owner, change)
  if owner ~= '' and redis.call('HINCRBY', KEY.owned, owner, change) <= 0 then
    redis.call('HDEL', KEY.owned, owner)
  end
end

local function deregister(id)
  local agent = read_agent(id)
  if agent then count_owned(agent[5], -1) end
  redis.call('HDEL', KEY.agents, id)
  redis.call('ZREM', KEY.seen, id)
  if visit_soon(id) then redis.call('SADD', KEY.nobodys, id) end
end
