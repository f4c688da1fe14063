-- use: accept
-- args: id sender size ttl reply_to broadcast counted body
-- The usual case of `send`, with a fifth of its text: the inbox is there, nothing is due in it,
-- there is room, and nobody waits for an answer. In any other case it says so, and `send` is asked.
if not box or now >= box.due or monotonic >= box.runs or box.empty or #box.waits > 0 then
  return {'', 'unusual'}
end
local found = redis.call('HMGET', KEY.mail, ':' .. ARG.id, '#' .. ARG.sender)
local share = tonumber(found[2]) or 0
if found[1] or LIMITS.inbox_messages - box.owed <= share
    or LIMITS.inbox_bytes - box.bytes < tonumber(ARG.size) then
  return {'', 'unusual'}
end

local record = accept(share)
local expires_at = now + record[TTL]
redis.call('ZADD', KEY.ready, record[SEQ], ARG.id)
redis.call('ZADD', KEY.due, expires_at, ARG.id)
if expires_at < box.due then box.due = expires_at end
local news = ''
if expires_at < box.index then
  box.index = expires_at
  news = cmsgpack.pack({expires_at, false, {}})
end
redis.call('SET', KEY.box, cmsgpack.pack(box))
redis.pcall('PUBLISH', KEY.box, 'r')
return {news, 'accepted', record[SEQ], box.epoch, string.format('%.17g', expires_at), 0}
