-- First of all in what shows, settles or follows up: it is done also when the memory is full. Redis
-- refuses no command of a script that has written already, and this write takes no memory.
redis.call('UNLINK', KEY.nothing)
