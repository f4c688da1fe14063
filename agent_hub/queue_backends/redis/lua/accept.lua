-- use: read_box record
-- A new message, with the next seq. `share` is how many its sender is owed here already.
local function accept(share)
  local size = tonumber(ARG.size)
  box.seq = box.seq + 1
  box.owed = box.owed + 1
  box.bytes = box.bytes + size
  tally('accepted ' .. ARG.counted)
  local record = {
    box.seq, ARG.sender, size, now, tonumber(ARG.ttl), ARG.reply_to, tonumber(ARG.broadcast),
    0, 0, 'ready', now, '', 0, '',
  }
  redis.call('HSET', KEY.mail, ':' .. ARG.id, cmsgpack.pack(record), '=' .. ARG.id, ARG.body,
    '#' .. ARG.sender, share + 1)
  return record
end
