-- use: always streams
-- args: stream
-- Take the place; what another stream held is ready again. Needs no inbox, and makes none.
if box then come_due() end
take_place(ARG.stream)
give_back_streams(ARG.stream, true)
redis.pcall('PUBLISH', KEY.box, 'o' .. ARG.stream)
return box and done() or {''}
