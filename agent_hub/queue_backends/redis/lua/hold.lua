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

-- Hand ready messages, as pairs of an id and a record, to a lease. `fault`: whether it is one that
-- the lease runs out; `stream` is the stream that it lives as long as.
local function hold_all(pairs_, lease, out, fault, stream)
  if #pairs_ == 0 then return end
  local ids, held, leased, written = {}, {}, {}, {}
  for place, pair in ipairs(pairs_) do
    local id, record = pair[1], pair[2]
    close_notice(id, record)
    record[ATTEMPTS] = record[ATTEMPTS] + 1
    record[STATE], record[SINCE], record[LEASE] = 'leased', now, lease
    record[FAULT], record[STREAM] = fault, stream
    ids[place] = id
    held[2 * place - 1], held[2 * place] = out, id
    leased[2 * place - 1], leased[2 * place] = 0, leased_as(id, record, lease)
    written[2 * place - 1], written[2 * place] = ':' .. id, cmsgpack.pack(record)
  end
  redis.call('ZREM', KEY.ready, unpack(ids))
  redis.call('ZADD', KEY.held, unpack(held))
  redis.call('ZADD', KEY.leases, unpack(leased))
  redis.call('HSET', KEY.mail, unpack(written))
  runs_out_at(out)
end

-- Take messages out of their leases.
local function unhold_all(pairs_)
  if #pairs_ == 0 then return end
  local ids, leased = {}, {}
  for place, pair in ipairs(pairs_) do
    ids[place], leased[place] = pair[1], leased_as(pair[1], pair[2], pair[2][LEASE])
  end
  redis.call('ZREM', KEY.held, unpack(ids))
  redis.call('ZREM', KEY.leases, unpack(leased))
end

-- Back to ready, in its place, unless it has failed too often or its time is over.
local function give_back(id, record, failure)
  unhold_all({{id, record}})
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
