-- use: always come_due
-- args: id
-- Where a message stands here.
if not box then return {''} end
come_due()
local packed = redis.call('HGET', KEY.mail, ':' .. ARG.id)
return done(packed)
