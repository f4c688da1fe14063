-- use: come_due
-- A wait as it stands: epoch, state, since, settled, and the answer; nothing when there is none.
local function view(question)
  local wait = find_wait(question)
  if wait then
    local copy = redis.call('HMGET', KEY.mail, '?' .. question, '~' .. question)
    return {
      box.epoch, wait.state, number(wait.since), wait.settled and 1 or 0,
      copy[1] or '', copy[2] or '',
    }
  end
  local since = redis.call('HGET', KEY.mail, '!' .. question)
  if not since then return {} end
  local copy = redis.call('HMGET', KEY.mail, '?' .. question, '~' .. question)
  return {box.epoch, 'replied', since, 1, copy[1], copy[2]}
end
