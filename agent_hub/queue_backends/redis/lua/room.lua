-- use: settle
-- Room for a message: nothing, a refusal, or what has to be dropped for it.

local function fits(places, room, share, size)
  return places > share and room >= size
end

-- The fewest that must go, the sender's own first: a flood hits itself. None at all when the
-- message would not fit even then.
local function find_victims(sender, size, places, room, share)
  local ids = redis.call('ZRANGE', KEY.ready, 0, -1)
  local own, others = {}, {}
  for place, record in ipairs(read_all(ids)) do
    if record[SENDER] == sender then
      own[#own + 1] = {ids[place], record}
    elseif record[SENDER] ~= HUB then
      others[#others + 1] = {ids[place], record}
    end
  end
  for _, other in ipairs(others) do own[#own + 1] = other end
  local victims = {}
  for _, victim in ipairs(own) do
    victims[#victims + 1] = victim
    places = places + 1
    room = room + victim[2][SIZE]
    if victim[2][SENDER] == sender then share = share - 1 end
    if fits(places, room, share, size) then return victims end
  end
end

-- Nil when there is room now; else the name of the refusal, and nothing has changed.
local function make_room(sender, size)
  local places = LIMITS.inbox_messages - box.owed
  local room = LIMITS.inbox_bytes - box.bytes
  local share = share_of(sender)
  if fits(places, room, share, size) then return end
  local victims = LIMITS.drop_oldest and find_victims(sender, size, places, room, share)
  if not victims then
    return (places <= 0 or room < size) and 'full' or 'share'
  end
  for _, victim in ipairs(victims) do
    redis.call('ZREM', KEY.ready, victim[1])
    finish(victim[1], victim[2], 'dropped')
  end
end
