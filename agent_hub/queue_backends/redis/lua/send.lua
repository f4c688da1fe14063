-- use: come_due receipt room accept
-- args: recipient id sender size ttl reply_to broadcast asking_since once fingerprint counted epoch body
-- Accept a message. `once` is 'key', 'question' or ''; `counted` its door and kind; `epoch` is
-- '' when the inbox must be there.
if box then come_due() end
local earlier, abandoned = earlier_receipt(ARG.once, ARG.id, ARG.fingerprint)
if earlier then
  if abandoned then
    abandoned[7] = ARG.id
    write_claim(abandoned)
  end
  if not box then return {'', unpack(earlier)} end
  return done(unpack(earlier))
end
if not box then
  if ARG.epoch == '' then return {'', 'absent'} end
  make_box(ARG.epoch)
  look_again = true
end

local refusal = make_room(ARG.sender, tonumber(ARG.size))
if refusal then return done(refusal) end
local record = accept(share_of(ARG.sender))
add_reply(ARG.id, record)
local wait, state = find_match(ARG.recipient, record, tonumber(ARG.asking_since))
if wait then
  answer(wait, state, ARG.id, record)
else
  redis.call('ZADD', KEY.ready, record[SEQ], ARG.id)
  due_at(expires_at(record), ARG.id)
  wake_readers()
end
if ARG.once == 'key' then
  write_claim(claim_of(ARG.id, record, ARG.fingerprint, LIMITS.idempotency_seconds, false))
end
if box.empty then look_again = true end
return done(unpack(receipt_of(record, 0)))
