-- args: id agent
-- Keep with a key who the recipient was when its message was accepted.
local claim = redis.call('GET', KEY.once)
claim = claim and cmsgpack.unpack(claim)
if claim and claim[2] == ARG.id and not claim[8] then
  claim[8] = ARG.agent
  redis.call('SET', KEY.once, cmsgpack.pack(claim), 'KEEPTTL')
end
return {''}
