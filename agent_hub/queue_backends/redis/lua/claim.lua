-- use: time
-- args: key fingerprint id
-- Bind a broadcast's key to a message id: the first one wins.
local claim = redis.call('HGET', KEY.casts, ARG.key)
claim = claim and cmsgpack.unpack(claim)
if claim and claim[3] > now then
  return {'', claim[1] == ARG.fingerprint and 'known' or 'mismatch', claim[2]}
end
redis.call('HSET', KEY.casts, ARG.key,
  cmsgpack.pack({ARG.fingerprint, ARG.id, now + LIMITS.idempotency_seconds}))
redis.call('EXPIRE', KEY.casts, math.ceil(LIMITS.idempotency_seconds) + 60)
return {'', 'new', ARG.id}
