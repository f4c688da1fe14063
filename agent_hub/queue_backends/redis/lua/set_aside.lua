-- use: always
-- args: life counts
-- What an inbox counted in a life that may be over; not again what is in the sums.
if not redis.call('ZSCORE', KEY.folded, ARG.life) then
  redis.call('HSET', KEY.folding, ARG.life, ARG.counts)
end
return {''}
