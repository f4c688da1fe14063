-- args: box
-- Let an inbox go, if nothing at all has happened in it since. What ended in it and was not told
-- of yet stays. Says whether that life of it is over, also when it was over before: the answer
-- may have been lost on its way.
local box = redis.call('GET', KEY.box)
if box == ARG.box then
  redis.call('DEL', KEY.box, KEY.mail, KEY.ready, KEY.held, KEY.leases, KEY.kept, KEY.settled,
    KEY.due, KEY.answered, KEY.notices)
elseif box and cmsgpack.unpack(box).epoch == cmsgpack.unpack(ARG.box).epoch then
  return {'', 0}
end
return {'', 1}
