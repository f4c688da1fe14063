-- use: mail
-- What a send answers: seq, epoch, expiry, and whether it had been accepted before.
local function receipt_of(record, replayed)
  return {'accepted', record[SEQ], box.epoch, number(expires_at(record)), replayed}
end

-- The same, as it is remembered for a key or an abandoned question.
local function remembered(claim)
  return {'accepted', claim[3], claim[4], number(claim[5]), 1, claim[2], claim[8]}
end

-- What is remembered: fingerprint, message id, seq, epoch, expiry, when it is forgotten; of an
-- abandoned question, the message that it was given to; and who the recipient was, as the
-- register had it ('' for nobody), once that is known.
local function claim_of(id, record, fingerprint, seconds, agent)
  return {
    fingerprint, id, record[SEQ], box.epoch, expires_at(record), now + seconds, false, agent,
  }
end

local function read_claim()
  local claim = redis.call('GET', KEY.once)
  claim = claim and cmsgpack.unpack(claim)
  return claim and claim[6] > now and claim or nil
end

-- Nothing is left behind: a key goes by itself, unless a test keeps its own time.
local function write_claim(claim)
  local packed = cmsgpack.pack(claim)
  if ARGV[1] == '' then
    redis.call('SET', KEY.once, packed, 'PX', math.ceil((claim[6] - now) * 1000))
  else
    redis.call('SET', KEY.once, packed)
  end
end

-- Whether somebody can still answer this question.
local function is_alive(id)
  local record = box and read(id)
  local state = record and record[STATE]
  return state and state ~= 'expired' and state ~= 'dead' and state ~= 'dropped'
end

-- The first receipt of what was accepted before; nil for what is new. `once` says by what it is
-- known besides its id: 'key', 'question' or ''.
local function earlier_receipt(once, id, fingerprint)
  local claim = once ~= '' and read_claim()
  if once == 'key' and claim then
    if claim[1] ~= fingerprint then return {'mismatch'} end
    return remembered(claim)
  end
  if once == 'question' and claim and (not claim[7] or claim[7] == id) then
    if is_alive(claim[2]) then return remembered(claim), claim end
  end
  local known = box and read(id)
  return known and receipt_of(known, 1)
end
