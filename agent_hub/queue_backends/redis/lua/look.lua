-- use: always come_due
-- args: since_epoch since_seq limit max_bytes only_kept
-- Show what is ready and leased, and with a cursor also what is kept and newer than it. At most
-- so many bytes of content, and one message at least; a limit of 0 asks only for the position.
if not box then return {''} end
local is_quiet = monotonic < box.runs and now < box.due -- nothing is due: nothing is to be written
come_due()

local function shown_as(...)
  if is_quiet then return {'', ...} end
  return done(...)
end

if ARG.limit == '0' and ARG.since_epoch == '' then
  local ready = redis.call('ZCARD', KEY.ready)
  return shown_as(box.epoch, box.seq, ready + redis.call('ZCARD', KEY.held), ready, 0)
end

-- Of what is ready only the first ones by seq can be shown; the others are only counted.
local ready, ids, uncounted = 0, {}, 0
if ARG.only_kept ~= '1' then
  ready = redis.call('ZCARD', KEY.ready)
  ids = ARG.limit == '0' and {} or redis.call('ZRANGE', KEY.ready, 0, ARG.limit - 1)
  uncounted = ready - #ids
  for _, id in ipairs(redis.call('ZRANGE', KEY.held, 0, -1)) do ids[#ids + 1] = id end
end
local since = ARG.since_epoch ~= '' and tonumber(ARG.since_seq)
if since then
  local newest_seen = ARG.since_epoch == box.epoch and since or 0
  local kept = redis.call('ZRANGE', KEY.kept, 0, -1)
  for place, record in ipairs(read_all(kept)) do
    if record[SEQ] > newest_seen then ids[#ids + 1] = kept[place] end
  end
end

local shown = ARG.limit == '0' and {} or pairs_of(ids)
table.sort(shown, function(one, other) return one[2][SEQ] < other[2][SEQ] end)
local answers, room = {}, tonumber(ARG.max_bytes)
for place = 1, math.min(ARG.limit, #shown) do
  room = room - shown[place][2][SIZE]
  if room < 0 and place > 1 then break end
  answers[#answers + 1] = cmsgpack.pack(shown[place][2])
  answers[#answers + 1] = redis.call('HGET', KEY.mail, '=' .. shown[place][1])
end
local recovered = since and ARG.since_epoch == box.epoch
  and box.gap <= since and since <= box.seq
return shown_as(box.epoch, box.seq, uncounted + #ids, ready,
  recovered and 1 or 0, unpack(answers))
