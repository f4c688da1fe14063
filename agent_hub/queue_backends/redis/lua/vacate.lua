-- use: always streams
-- args: stream
-- Leave the place: what the stream holds is ready again.
if box then come_due() end
local place = placed()
if place and place[1] == ARG.stream then
  redis.call('DEL', KEY.place)
  give_back_streams(ARG.stream, false)
end
return box and done() or {''}
