-- use: come_due
-- args: lease limit max_bytes seconds stream
-- Hand out ready messages: for so many seconds, or as long as a stream has its place, or, with
-- neither, until the call that takes them must have ended.
if not box then return {''} end
come_due()

local answers = {}
local function hand(id, record)
  answers[#answers + 1] = cmsgpack.pack(record)
  answers[#answers + 1] = redis.call('HGET', KEY.mail, '=' .. id)
end

local place = ARG.stream ~= '' and placed()
if ARG.stream ~= '' and not (place and place[1] == ARG.stream) then return done(box.epoch) end
local held = ids_of(ARG.lease)
if #held > 0 then
  for _, id in ipairs(held) do hand(id, read(id)) end
  return done(box.epoch, unpack(answers))
end

local ids = tonumber(ARG.limit) > 0 and redis.call('ZRANGE', KEY.ready, 0, ARG.limit - 1) or {}
local out = place and place[2] or monotonic + (tonumber(ARG.seconds) or LIMITS.taking_seconds)
local fault = ARG.seconds ~= '' and 1 or 0
local left = tonumber(ARG.max_bytes)
for place_of, record in ipairs(read_all(ids)) do
  left = left - record[SIZE]
  if left < 0 and place_of > 1 then break end
  redis.call('ZREM', KEY.ready, ids[place_of])
  hold(ids[place_of], record, ARG.lease, out, fault, ARG.stream)
  hand(ids[place_of], record)
end
return done(box.epoch, unpack(answers))
