-- use: time
-- args:
return {'', string.format('%.6f', now)}
