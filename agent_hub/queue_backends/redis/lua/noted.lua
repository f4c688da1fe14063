-- use: always time
-- args: endings
-- That these (a MessagePack list) were told need not be known for much longer: until another node,
-- which may still have them from before, has asked too.
for _, ending in ipairs(cmsgpack.unpack(ARG.endings)) do
  redis.call('ZADD', KEY.told, 'XX', now + 600, ending)
end
redis.call('ZREMRANGEBYSCORE', KEY.told, '-inf', now)
return {''}
