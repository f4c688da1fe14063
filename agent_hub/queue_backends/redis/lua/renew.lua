-- use: always streams
-- args: stream
-- Keep the place, or take it again if it is empty.
if box then come_due() end
local place = placed()
local own = not place or place[1] == ARG.stream
if own then take_place(ARG.stream) end
if not box then return {'', own and 1 or 0} end
return done(own and 1 or 0)
