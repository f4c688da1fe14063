-- use: receipt
-- args: id once fingerprint
-- What `send` would answer if it had been accepted before. Changes nothing.
local earlier = earlier_receipt(ARG.once, ARG.id, ARG.fingerprint)
return {'', unpack(earlier or {'absent'})}
