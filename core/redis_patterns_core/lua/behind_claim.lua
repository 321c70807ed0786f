-- Take keys that are due, to save them; they are somebody else's when the time for that is over. Who asks again with the
-- same token, as no answer came, is given the same. One that has failed is taken with half as many others each time, and
-- alone before it may fail for the last time: what makes a batch fail takes no others to the dead letters.
--
-- KEYS[1]  hash: what is to be saved, by key
-- KEYS[2]  sorted set: the keys by when they are due (milliseconds since the epoch)
-- KEYS[3]  hash: who is saving, by key: UNTIL:TOKEN
-- KEYS[4]  hash: how often saving has failed, by key
-- ARGV     token, for how long (milliseconds), how many at most, 1 where all are due, how often it may fail
-- Reply    {key, what is to be saved, ...}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end
local over = whole(now + ARGV[2])
local token, most, tries = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[5])

local room, chosen, claimed = most, {}, {}
local function take(key, waiting)
  chosen[#chosen + 1] = key
  claimed[#claimed + 1] = key
  claimed[#claimed + 1] = waiting
end
local function together(key)
  local failed = tonumber(redis.call('HGET', KEYS[4], key)) or 0
  if failed == 0 then return most end
  return failed >= tries - 1 and 1 or math.max(1, math.floor(most / 2 ^ failed))
end

local saving = redis.call('HGETALL', KEYS[3])
for place = 1, #saving, 2 do
  if string.match(saving[place + 1], '^%d+:(.*)$') == token then
    local waiting = redis.call('HGET', KEYS[1], saving[place])
    if waiting then take(saving[place], waiting) end
  end
end
-- What others are saving may come first: on, then, until there is something.
local place, gone = 0, {}
while #chosen == 0 do
  local due
  if ARGV[4] == '1' then
    due = redis.call('ZRANGE', KEYS[2], place, place + most - 1)
  else
    due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', whole(now), 'LIMIT', place, most)
  end
  for _, key in ipairs(due) do
    local waiting, other = redis.call('HGET', KEYS[1], key), redis.call('HGET', KEYS[3], key)
    if not waiting then
      gone[#gone + 1] = key
    elseif #chosen < room and (not other or tonumber(string.match(other, '^%d+')) <= now) then
      local few = together(key)
      if #chosen < few then
        room = math.min(room, few)
        take(key, waiting)
      end
    end
  end
  if #due < most then break end
  place = place + most
end
for _, key in ipairs(gone) do redis.call('ZREM', KEYS[2], key) end
for _, key in ipairs(chosen) do
  redis.call('HSET', KEYS[3], key, over .. ':' .. token)
  redis.call('ZADD', KEYS[2], over, key)
end
return claimed
