-- use: hold
-- The questions of this agent that still wait, oldest first, and the answers given lately.
-- An answer's record stands under '?' and its question's id, its content under '~', and when
-- its wait was opened under '!' once the question is closed.

local function find_wait(question)
  for place, wait in ipairs(box.waits) do
    if wait.question == question then return wait, place end
  end
end

-- Keep a copy: the answer can be shown whatever becomes of the message.
local function copy_answer(question, id, record)
  local body = redis.call('HGET', KEY.mail, '=' .. id)
  redis.call('HSET', KEY.mail, '?' .. question, cmsgpack.pack(record), '~' .. question, body)
end

local function forget_answer(question)
  redis.call('HDEL', KEY.mail, '?' .. question, '~' .. question, '!' .. question)
  redis.call('ZREM', KEY.answered, question)
  redis.call('ZREM', KEY.due, '!' .. question)
end

-- Let an answer be given again for a while.
local function remember_answer(question, since)
  redis.call('HSET', KEY.mail, '!' .. question, number(since))
  redis.call('ZADD', KEY.answered, next_order(), question)
  due_at(now + LIMITS.idempotency_seconds, '!' .. question)
  if redis.call('ZCARD', KEY.answered) > LIMITS.answers_per_agent then
    forget_answer(redis.call('ZRANGE', KEY.answered, 0, 0)[1])
  end
end

-- Lease a message to the wait that it answers; nobody else can read it.
local function answer(wait, state, id, record)
  wait.state = state
  hold_all({{id, record}}, wait.question, NEVER, 0, '')
  copy_answer(wait.question, id, record)
  wakes['a' .. wait.question] = true
end

-- End a wait: an answer that nobody acked becomes an ordinary message.
local function close_wait(question, keep)
  local wait, place = find_wait(question)
  if not wait then return end
  table.remove(box.waits, place)
  local answered = wait.state ~= 'pending'
  if keep and wait.settled and wait.state == 'replied' then
    remember_answer(question, wait.since)
  elseif answered then
    forget_answer(question)
  end
  if answered and not wait.settled then
    for _, pair in ipairs(pairs_of(ids_of(question))) do give_back(pair[1], pair[2], 0) end
  end
end

-- The wait that an arriving message answers, and how.
local function find_match(agent, record, asking_since)
  local oldest
  for _, wait in ipairs(box.waits) do
    if wait.state == 'pending' and wait.asked == record[SENDER] then
      if wait.question == record[REPLY] then return wait, 'replied' end
      oldest = oldest or wait
    end
  end
  if record[REPLY] ~= '' or not oldest or record[BROADCAST] == 1 then return end
  if not asking_since then return oldest, 'replied' end
  -- Both ask each other: the wait that stood first gives way, so that exactly one does.
  if oldest.since < asking_since or (oldest.since == asking_since and agent < record[SENDER]) then
    return oldest, 'crossed'
  end
end
