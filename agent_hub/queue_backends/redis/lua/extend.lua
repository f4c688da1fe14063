-- use: always held
-- args: lease ids seconds
-- Let what this lease holds of these run out later. Only a manual lease does.
if not box then return {'', 0} end
come_due()
local extended, out = 0, monotonic + ARG.seconds
for _, one in ipairs(held_by(ARG.lease, ARG.ids)) do
  if one[2][FAULT] == 1 then
    redis.call('ZADD', KEY.held, out, one[1])
    runs_out_at(out)
    extended = extended + 1
  end
end
return done(extended)
