-- Let dead jobs be tried again, from the beginning: those that are named, or the oldest.
--
-- KEYS[1]  sorted set: jobs that are ready, by their places
-- KEYS[2]  sorted set: jobs that are for later
-- KEYS[3]  sorted set: jobs that somebody works on
-- KEYS[4]  sorted set: jobs that are dead, by when they died
-- KEYS[5]  hash: what is known of each; see jobs_enqueue
-- KEYS[6]  hash: ids by unique keys
-- KEYS[7]  hash: the last number, whether it is paused, counts
-- KEYS[8]  list: one element wakes a worker
-- KEYS[9]  hash: how far jobs have come
-- KEYS[10] hash: jobs that should be given up by who works on them
-- ARGV     how many jobs there may be that are not dead (0 any number), how many at most, the ids, or none
-- Reply    how many there were; one whose unique key is another's stays dead, as do those for which there is no room
local most, wanted = tonumber(ARGV[1]), tonumber(ARGV[2])
local room = wanted
if most > 0 then
  room = most - redis.call('ZCARD', KEYS[1]) - redis.call('ZCARD', KEYS[2]) - redis.call('ZCARD', KEYS[3])
end

local function redrive(id)
  local record = redis.call('HGET', KEYS[5], id)
  if not record or not redis.call('ZSCORE', KEYS[4], id) then return false end
  local fence, enqueued, priority, unique = string.match(record, '^[^|]*|%d+|%d+|(%d+)|[^|]*|(%d+)|(%-?%d+)|(.*)$')
  local owner = unique ~= '' and redis.call('HGET', KEYS[6], unique)
  local owned = owner and redis.call('HGET', KEYS[5], owner)
  if owned and string.sub(owned, -#unique - 1) == '|' .. unique then return false end -- see jobs_enqueue
  if unique ~= '' then redis.call('HSET', KEYS[6], unique, id) end
  local number = redis.call('HINCRBY', KEYS[7], 'number', 1)
  local in_line = string.format('%.0f', priority * 8796093022208 + number)
  redis.call('ZREM', KEYS[4], id)
  -- What versions up to 0.1.0 have left of a job that lost its workers.
  redis.call('HDEL', KEYS[9], id)
  redis.call('HDEL', KEYS[10], id)
  redis.call('HSET', KEYS[5], id, table.concat({in_line, 0, 0, fence, '', enqueued, priority, unique}, '|'))
  redis.call('ZADD', KEYS[1], in_line, id)
  redis.call('HINCRBY', KEYS[7], 'redriven', 1)
  return true
end

local moved, stayed = 0, 0
for place = 3, #ARGV do
  if moved < room and redrive(ARGV[place]) then moved = moved + 1 end
end
-- The oldest that can be, past up to 1000 that have to stay dead.
while #ARGV == 2 and moved < math.min(wanted, room) and stayed <= 1000 do
  local ids = redis.call('ZRANGE', KEYS[4], stayed, math.min(stayed + wanted - moved, 1001) - 1)
  if #ids == 0 then break end
  for _, id in ipairs(ids) do
    if moved < room and redrive(id) then moved = moved + 1 else stayed = stayed + 1 end
  end
end
if moved > 0 and redis.call('HEXISTS', KEYS[7], 'paused') == 0 then
  if redis.call('LLEN', KEYS[8]) == 0 then redis.call('RPUSH', KEYS[8], 1) end
  redis.call('PEXPIRE', KEYS[8], 60000)
end
return moved
