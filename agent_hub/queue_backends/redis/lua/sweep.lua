-- use: always come_due
-- args: use
-- Do what has come due, and count how long an inbox that nobody uses has been empty. Says when
-- to come again; and of one that may go, all that has to be remembered of it.
if not box then return {'', 'absent'} end
come_due()
local over = false
local watched = ARG.use == 'watched'
if ARG.use == 'registered' or watched or not is_empty() then
  box.empty = false
elseif not box.empty then
  box.empty = now
else
  over = box.empty + LIMITS.empty_inbox_seconds <= now
end
look_again = watched and is_empty() -- until nobody reads it any more
ended = redis.call('EXISTS', KEY.ended) == 1
box.index = NEVER -- what the sweeper knew is used up: the next visit is told anew
local answer = done(over and 'over' or 'stays')
if over then
  for _, part in ipairs({box.epoch, cmsgpack.pack(box.counts), redis.call('GET', KEY.box)}) do
    answer[#answer + 1] = part
  end
end
return answer
