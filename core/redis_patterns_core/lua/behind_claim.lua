-- Take keys that are due, to save them; they are somebody else's when the time for that is over.
--
-- KEYS[1]  hash: what is to be saved, by key
-- KEYS[2]  sorted set: the keys by when they are due (milliseconds since the epoch)
-- KEYS[3]  hash: who is saving, by key: UNTIL:TOKEN
-- ARGV     token, for how long (milliseconds), how many at most, 1 where all are due
-- Reply    {key, what is to be saved, ...}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end
local over = whole(now + ARGV[2])

local claimed = {}
local due
if ARGV[4] == '1' then
  due = redis.call('ZRANGE', KEYS[2], 0, -1)
else
  due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', whole(now), 'LIMIT', 0, ARGV[3])
end
for _, key in ipairs(due) do
  if #claimed >= 2 * ARGV[3] then break end
  local saving = redis.call('HGET', KEYS[3], key)
  local waiting = redis.call('HGET', KEYS[1], key)
  if not waiting then
    redis.call('ZREM', KEYS[2], key)
  elseif not saving or tonumber(string.match(saving, '^%d+')) <= now then
    redis.call('HSET', KEYS[3], key, over .. ':' .. ARGV[1])
    redis.call('ZADD', KEYS[2], over, key)
    claimed[#claimed + 1] = key
    claimed[#claimed + 1] = waiting
  end
end
return claimed
