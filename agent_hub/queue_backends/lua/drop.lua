-- args: box
-- Let an inbox go, if nothing at all has happened in it since. What ended in it and was not told
-- of yet stays.
if redis.call('GET', KEY.box) ~= ARG.box then return {'', 0} end
redis.call('DEL', KEY.box, KEY.mail, KEY.ready, KEY.held, KEY.leases, KEY.kept, KEY.settled,
  KEY.due, KEY.answered, KEY.notices)
return {'', 1}
