-- use: mail
-- How a message is done with: by an ack, or by an ending that its sender is told of.

local function forget(id)
  local record = read(id)
  redis.call('HDEL', KEY.mail, id)
  redis.call('ZREM', KEY.settled, id)
  redis.call('ZREM', KEY.due, id)
  gone[#gone + 1] = {record[SENDER], id, record[BROADCAST] == 1}
end

-- Its content goes, and what became of it is remembered for a while.
local function settle(id, record, state, since, at)
  remove_reply(id, record)
  redis.call('HDEL', KEY.mail, '=' .. id)
  record[STATE], record[SINCE], record[LEASE] = state, since, ''
  write(id, record)
  redis.call('ZADD', KEY.settled, next_order(), id)
  due_at(at + LIMITS.settled_seconds, id)
  if redis.call('ZCARD', KEY.settled) > LIMITS.settled_messages then
    forget(redis.call('ZRANGE', KEY.settled, 0, 0)[1])
  end
end

-- It ends without an ack: expired, dead or dropped.
local function finish(id, record, state)
  count(record, -1)
  close_notice(id, record)
  box.gap = math.max(box.gap, record[SEQ])
  settle(id, record, state, now, now)
  tally(state)
  local notify = record[BROADCAST] == 0 and record[SENDER] ~= HUB
  local ending = {record[SENDER], state, notify, now, box.order}
  redis.call('HSET', KEY.ended, id, cmsgpack.pack(ending))
  ended = true
end

-- It can no longer be read again. `at` is when that came to be so.
local function unkeep(id, record, at)
  redis.call('ZREM', KEY.kept, id)
  box.gap = math.max(box.gap, record[SEQ])
  settle(id, record, 'acked', record[SINCE], at)
end

-- It was acked. `mode` is how that is counted.
local function keep(id, record, mode)
  count(record, -1)
  close_notice(id, record)
  record[STATE], record[SINCE], record[LEASE] = 'kept', now, ''
  write(id, record)
  redis.call('ZADD', KEY.kept, next_order(), id)
  due_at(expires_at(record), id)
  tally('acked ' .. mode)
  if redis.call('ZCARD', KEY.kept) > LIMITS.kept_messages then
    local oldest = redis.call('ZRANGE', KEY.kept, 0, 0)[1]
    unkeep(oldest, read(oldest), now)
  end
end
