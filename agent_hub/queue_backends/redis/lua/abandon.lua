-- use: always box receipt
-- args: id fingerprint agent
-- The asker of this question went away: the same one, asked again, finds it.
local record = box and read(ARG.id)
if record then
  write_claim(claim_of(ARG.id, record, ARG.fingerprint, LIMITS.abandoned_wait_seconds,
    ARG.agent))
end
return {''}
