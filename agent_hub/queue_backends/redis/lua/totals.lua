-- use: mail
-- args:
-- How many are where; nothing that is due is done.
if not box then return {''} end
local oldest = redis.call('ZRANGE', KEY.ready, 0, 0)[1]
oldest = oldest and number(read(oldest)[AT])
return {'', box.epoch, cmsgpack.pack(box.counts),
  redis.call('ZCARD', KEY.ready), redis.call('ZCARD', KEY.held), redis.call('ZCARD', KEY.kept),
  box.bytes, oldest or '', number(now)}
