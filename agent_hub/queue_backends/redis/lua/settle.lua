-- use: mail
-- How messages are done with: by an ack, or by an ending that the sender is told of. Several at
-- once, as pairs of an id and a record: a call of Redis for all costs little more than for one.

local function forget_all(ids)
  for _, pair in ipairs(pairs_of(ids)) do
    gone[#gone + 1] = {pair[2][SENDER], pair[1], pair[2][BROADCAST] == 1}
  end
  redis.call('HDEL', KEY.mail, unpack(records_of(ids)))
  redis.call('ZREM', KEY.settled, unpack(ids))
  redis.call('ZREM', KEY.due, unpack(ids))
end

-- The content goes, and what became of it is remembered for a while. `at_of` says since when.
local function settle_all(pairs_, state, at_of)
  local contents, written, places, due = {}, {}, {}, {}
  for place, pair in ipairs(pairs_) do
    local id, record = pair[1], pair[2]
    local forget_at = at_of(record) + LIMITS.settled_seconds
    remove_reply(id, record)
    record[STATE], record[LEASE] = state, ''
    contents[place] = '=' .. id
    written[2 * place - 1], written[2 * place] = ':' .. id, cmsgpack.pack(record)
    places[2 * place - 1], places[2 * place] = next_order(), id
    due[2 * place - 1], due[2 * place] = forget_at, id
    if forget_at < box.due then box.due = forget_at end
  end
  redis.call('HDEL', KEY.mail, unpack(contents))
  redis.call('HSET', KEY.mail, unpack(written))
  redis.call('ZADD', KEY.settled, unpack(places))
  redis.call('ZADD', KEY.due, unpack(due))
  local surplus = redis.call('ZCARD', KEY.settled) - LIMITS.settled_messages
  if surplus > 0 then forget_all(redis.call('ZRANGE', KEY.settled, 0, surplus - 1)) end
end

local function at_once()
  return now
end

-- It ends without an ack: expired, dead or dropped.
local function finish(id, record, state)
  count(record, -1)
  close_notice(id, record)
  box.gap = math.max(box.gap, record[SEQ])
  record[SINCE] = now
  settle_all({{id, record}}, state, at_once)
  tally(state)
  local notify = record[BROADCAST] == 0 and record[SENDER] ~= HUB
  local ending = {record[SENDER], state, notify, now, box.order}
  redis.call('HSET', KEY.ended, id, cmsgpack.pack(ending))
  ended = true
end

-- They can no longer be read again.
local function unkeep_all(ids, at_of)
  local pairs_ = {}
  for place, record in ipairs(read_all(ids)) do
    box.gap = math.max(box.gap, record[SEQ])
    pairs_[place] = {ids[place], record}
  end
  redis.call('ZREM', KEY.kept, unpack(ids))
  settle_all(pairs_, 'acked', at_of)
end

-- They were acked, in this order. `mode` is how that is counted.
local function keep_all(pairs_, mode)
  if #pairs_ == 0 then return end
  local written, places, due = {}, {}, {}
  for place, pair in ipairs(pairs_) do
    local id, record = pair[1], pair[2]
    count(record, -1)
    close_notice(id, record)
    tally('acked ' .. mode)
    record[STATE], record[SINCE], record[LEASE] = 'kept', now, ''
    written[2 * place - 1], written[2 * place] = ':' .. id, cmsgpack.pack(record)
    places[2 * place - 1], places[2 * place] = next_order(), id
    due[2 * place - 1], due[2 * place] = expires_at(record), id
    if expires_at(record) < box.due then box.due = expires_at(record) end
  end
  redis.call('HSET', KEY.mail, unpack(written))
  redis.call('ZADD', KEY.kept, unpack(places))
  redis.call('ZADD', KEY.due, unpack(due))
  local surplus = redis.call('ZCARD', KEY.kept) - LIMITS.kept_messages
  if surplus > 0 then unkeep_all(redis.call('ZRANGE', KEY.kept, 0, surplus - 1), at_once) end
end
