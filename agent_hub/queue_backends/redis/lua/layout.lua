-- use: always
-- args: layout
-- How all keys are laid out: as the first hub here said.
redis.call('SET', KEY.layout, ARG.layout, 'NX')
return {'', redis.call('GET', KEY.layout)}
