-- use: come_due
-- args: ending recipient expected pending id body size epoch
-- Tell this agent, a sender, of one ending. The pending notice about that recipient is composed
-- by the caller, from `expected`: when that is not how it stands, the answer says how, and
-- nothing has changed. An empty `body` says that the notice names the ending already.
if not box then
  if ARG.epoch == '' then return {'', 'absent'} end
  make_box(ARG.epoch)
  look_again = true
end
come_due()
if redis.call('ZSCORE', KEY.told, ARG.ending) then return done('told') end
local pending = redis.call('HGET', KEY.notices, ARG.recipient) or ''
if pending ~= ARG.expected then return done('changed', pending) end

local function tell()
  redis.call('ZADD', KEY.told, now + 86400, ARG.ending)
  redis.call('EXPIRE', KEY.told, 86400)
end

if pending ~= '' then
  if ARG.body ~= '' then
    local record = read(ARG.id)
    record[SIZE] = tonumber(ARG.size)
    redis.call('HSET', KEY.notices, ARG.recipient, ARG.pending)
    redis.call('HSET', KEY.mail, ':' .. ARG.id, cmsgpack.pack(record), '=' .. ARG.id, ARG.body)
  end
  tell()
  return done('told')
end
tell()
if read(ARG.id) then return done('told') end
if box.notices >= LIMITS.notices_per_inbox then return done('told') end
box.seq = box.seq + 1
local record = {
  box.seq, HUB, tonumber(ARG.size), now, LIMITS.notice_ttl, '', 0, 0, 0, 'ready', now, '', 0, '',
}
count(record, 1)
tally('accepted hub notice')
redis.call('HSET', KEY.mail, ':' .. ARG.id, cmsgpack.pack(record), '=' .. ARG.id, ARG.body)
redis.call('HSET', KEY.notices, ARG.recipient, ARG.pending, '@' .. ARG.id, ARG.recipient)
redis.call('ZADD', KEY.ready, box.seq, ARG.id)
due_at(expires_at(record), ARG.id)
wake_readers()
if box.empty then look_again = true end
return done('new')
