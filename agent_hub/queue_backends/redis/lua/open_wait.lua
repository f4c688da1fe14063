-- use: views
-- args: question asked seconds since epoch
-- Reserve the reply to a question. One that came while no wait stood is taken now, ready or read.
if not box then
  if ARG.epoch == '' then return {'', 'absent'} end
  make_box(ARG.epoch)
  look_again = true
end
come_due()
if box.empty then look_again = true end

local replies = {}
for _, id in ipairs(replies_to(ARG.question)) do
  local record = read(id)
  if record and record[SENDER] == ARG.asked then replies[#replies + 1] = {id, record} end
end

local function read_already()
  for _, reply in ipairs(replies) do
    if reply[2][STATE] == 'kept' then return reply end
  end
end

local deadline = monotonic + ARG.seconds
local wait = find_wait(ARG.question)
if wait then
  wait.deadline = math.max(wait.deadline, deadline)
elseif redis.call('HEXISTS', KEY.mail, '!' .. ARG.question) == 1 then
  return done(unpack(view(ARG.question)))
elseif read_already() then
  copy_answer(ARG.question, unpack(read_already()))
  remember_answer(ARG.question, now)
  return done(unpack(view(ARG.question)))
else
  local pending = 0
  for _, one in ipairs(box.waits) do
    if one.state == 'pending' then pending = pending + 1 end
  end
  if pending >= LIMITS.waits_per_agent then return done('refused') end
  wait = {
    question = ARG.question, asked = ARG.asked, since = tonumber(ARG.since) or now,
    deadline = deadline, state = 'pending', settled = false,
  }
  box.waits[#box.waits + 1] = wait
  runs_out_at(deadline)
end

for _, reply in ipairs(wait.state == 'pending' and replies or {}) do
  if reply[2][STATE] == 'ready' then
    answer(wait, 'replied', reply[1], reply[2])
    break
  end
end
return done(unpack(view(ARG.question)))
