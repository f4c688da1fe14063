-- use: always come_due
-- args: lease limit max_bytes seconds stream
-- Hand out ready messages: for so many seconds, or as long as a stream has its place, or, with
-- neither, until the call that takes them must have ended.
if not box then return {''} end
come_due()

-- Records and contents by turns.
local function show(pairs_)
  local answers, contents = {}, {}
  for place, pair in ipairs(pairs_) do contents[place] = '=' .. pair[1] end
  if #contents == 0 then return {} end
  for place, content in ipairs(redis.call('HMGET', KEY.mail, unpack(contents))) do
    answers[2 * place - 1], answers[2 * place] = cmsgpack.pack(pairs_[place][2]), content
  end
  return answers
end

local place = ARG.stream ~= '' and placed()
if ARG.stream ~= '' and not (place and place[1] == ARG.stream) then return done(box.epoch) end
local held = pairs_of(ids_of(ARG.lease))
if #held > 0 then return done(box.epoch, unpack(show(held))) end

local ids = tonumber(ARG.limit) > 0 and redis.call('ZRANGE', KEY.ready, 0, ARG.limit - 1) or {}
local left, taken = tonumber(ARG.max_bytes), {}
for number_of, pair in ipairs(pairs_of(ids)) do
  left = left - pair[2][SIZE]
  if left < 0 and number_of > 1 then break end
  taken[number_of] = pair
end
local out = place and place[2] or monotonic + (tonumber(ARG.seconds) or LIMITS.taking_seconds)
hold_all(taken, ARG.lease, out, ARG.seconds ~= '' and 1 or 0, ARG.stream)
return done(box.epoch, unpack(show(taken)))
