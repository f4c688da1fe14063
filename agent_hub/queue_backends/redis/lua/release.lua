-- use: always held
-- args: lease ids failure
-- Give back what this lease holds of these.
if not box then return {'', 0} end
come_due()
local held = held_by(ARG.lease, ARG.ids)
for _, one in ipairs(held) do give_back(one[1], one[2], tonumber(ARG.failure)) end
note_emptiness()
return done(#held)
