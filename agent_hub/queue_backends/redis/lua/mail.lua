-- use: box record
-- The messages: a record under ':' and the id, the content under '=' and the id, how much of a
-- sender is owed under '#' and its name, which messages answer one under '>' and its id. Clients
-- name ids that they make up: nothing but a record stands under ':', whatever an id is.
local HUB = 'hub'

local function read(id)
  local packed = redis.call('HGET', KEY.mail, ':' .. id)
  return packed and cmsgpack.unpack(packed)
end

-- Where the records of these ids stand.
local function records_of(ids)
  local fields = {}
  for place, id in ipairs(ids) do fields[place] = ':' .. id end
  return fields
end

-- The records of these ids; false where there is none.
local function read_all(ids)
  if #ids == 0 then return {} end
  local records = redis.call('HMGET', KEY.mail, unpack(records_of(ids)))
  for place, packed in ipairs(records) do
    records[place] = packed and cmsgpack.unpack(packed)
  end
  return records
end

-- Pairs of an id and a record, of those that are there.
local function pairs_of(ids)
  local found = {}
  for place, record in ipairs(read_all(ids)) do
    if record then found[#found + 1] = {ids[place], record} end
  end
  return found
end

local function write(id, record)
  redis.call('HSET', KEY.mail, ':' .. id, cmsgpack.pack(record))
end

-- How many messages of a sender are owed.
local function share_of(sender)
  return tonumber(redis.call('HGET', KEY.mail, '#' .. sender)) or 0
end

local function expires_at(record)
  return record[AT] + record[TTL]
end

-- Keep the sums of what is owed; the hub's notices are outside all limits.
local function count(record, step)
  if record[SENDER] == HUB then
    box.notices = box.notices + step
    return
  end
  box.owed = box.owed + step
  box.bytes = box.bytes + step * record[SIZE]
  local share = '#' .. record[SENDER]
  if redis.call('HINCRBY', KEY.mail, share, step) <= 0 then
    redis.call('HDEL', KEY.mail, share)
  end
end

-- The ids of the messages here that answer a message, by seq.
local function replies_to(id)
  local packed = redis.call('HGET', KEY.mail, '>' .. id)
  return packed and cmsgpack.unpack(packed) or {}
end

local function add_reply(id, record)
  if record[REPLY] == '' then return end
  local ids = replies_to(record[REPLY])
  ids[#ids + 1] = id
  redis.call('HSET', KEY.mail, '>' .. record[REPLY], cmsgpack.pack(ids))
end

local function remove_reply(id, record)
  if record[REPLY] == '' then return end
  local left = {}
  for _, one in ipairs(replies_to(record[REPLY])) do
    if one ~= id then left[#left + 1] = one end
  end
  if #left == 0 then
    redis.call('HDEL', KEY.mail, '>' .. record[REPLY])
  else
    redis.call('HSET', KEY.mail, '>' .. record[REPLY], cmsgpack.pack(left))
  end
end

-- A notice that has been handed out, or is gone, is not written to any more.
local function close_notice(id, record)
  if record[SENDER] ~= HUB then return end
  local recipient = redis.call('HGET', KEY.notices, '@' .. id)
  if recipient then redis.call('HDEL', KEY.notices, '@' .. id, recipient) end
end
