-- use: settle
-- Who holds what. `held` is by the time that it runs out, `leases` by lease and then seq.

local function leased_as(id, record, lease)
  return lease .. '\0' .. string.format('%015d', record[SEQ]) .. '\0' .. id
end

-- What a lease holds, by seq.
local function ids_of(lease)
  local members = redis.call('ZRANGEBYLEX', KEY.leases, '[' .. lease .. '\0', '(' .. lease .. '\1')
  for place, member in ipairs(members) do
    members[place] = string.sub(member, #lease + 18)
  end
  return members
end

-- Hand a message to a lease. `fault`: whether it is one that the lease runs out; `stream` is
-- the stream that it lives as long as.
local function hold(id, record, lease, out, fault, stream)
  close_notice(id, record)
  record[ATTEMPTS] = record[ATTEMPTS] + 1
  record[STATE], record[SINCE], record[LEASE] = 'leased', now, lease
  record[FAULT], record[STREAM] = fault, stream
  redis.call('ZADD', KEY.held, out, id)
  redis.call('ZADD', KEY.leases, 0, leased_as(id, record, lease))
  runs_out_at(out)
  write(id, record)
end

-- Take a message out of its lease.
local function unhold(id, record)
  redis.call('ZREM', KEY.held, id)
  redis.call('ZREM', KEY.leases, leased_as(id, record, record[LEASE]))
end

-- Back to ready, in its place, unless it has failed too often or its time is over.
local function give_back(id, record, failure)
  unhold(id, record)
  record[FAILURES] = record[FAILURES] + failure
  if record[FAILURES] > LIMITS.failures then
    finish(id, record, 'dead')
  elseif expires_at(record) <= now then
    finish(id, record, 'expired')
  else
    record[STATE], record[SINCE], record[LEASE] = 'ready', record[AT], ''
    write(id, record)
    redis.call('ZADD', KEY.ready, record[SEQ], id)
    due_at(expires_at(record), id)
  end
  wake_readers()
end
