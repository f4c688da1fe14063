-- args: since
-- What lives counted that are over: the sums, what is set aside, and which joined the sums since.
return {'', redis.call('HGETALL', KEY.sums), redis.call('HGETALL', KEY.folding),
  redis.call('ZRANGEBYSCORE', KEY.folded, '(' .. ARG.since, '+inf')}
