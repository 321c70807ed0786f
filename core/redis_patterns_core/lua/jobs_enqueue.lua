-- Put jobs into a queue, all of them or none; one that is there already, or was done lately, is not put again.
--
-- What is known of a job is a text in KEYS[5]: place in the line, attempts, lost, fence, token, enqueued at, priority,
-- unique key; with | between. Its place is the priority times 2^43 plus a number, so that a lower priority comes first, and
-- of one priority what came first.
--
-- KEYS[1]  sorted set: jobs that are ready, by their places
-- KEYS[2]  sorted set: jobs that are for later, by when they are due (milliseconds since the epoch)
-- KEYS[3]  sorted set: jobs that somebody works on, by when their leases end
-- KEYS[4]  hash: payloads
-- KEYS[5]  hash: what is known of each
-- KEYS[6]  hash: ids by unique keys
-- KEYS[7]  sorted set: jobs that were done, by until when that is remembered
-- KEYS[8]  hash: the last number, whether it is paused, counts
-- KEYS[9]  list: one element wakes a worker
-- ARGV     how many jobs there may be (0 any number), delay or at, then for each job: id, after how long or when it is due
--          (milliseconds), priority, unique key or '', payload
-- Reply    {0} there would be too many; else for each, in one list: 1 put, 2 there already, 3 done already, 4 another has
--          the unique key; and the id that it is
local most, after = tonumber(ARGV[1]), ARGV[2] == 'delay'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end

local function known(id, unique)
  if redis.call('HEXISTS', KEYS[5], id) == 1 then return 2, id end
  local until_then = redis.call('ZSCORE', KEYS[7], id)
  if until_then and tonumber(until_then) > now then return 3, id end
  local owner = unique ~= '' and redis.call('HGET', KEYS[6], unique)
  -- Nobody's where its job is not known any more, or not that it has the key.
  local record = owner and redis.call('HGET', KEYS[5], owner)
  if record and string.sub(record, -#unique - 1) == '|' .. unique then return 4, owner end
  return 1, id
end

if most > 0 then
  local count = redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[2]) + redis.call('ZCARD', KEYS[3])
  local ids, uniques = {}, {['']=false}
  for place = 3, #ARGV, 5 do
    local id, unique = ARGV[place], ARGV[place + 3]
    if not ids[id] and not uniques[unique] and known(id, unique) == 1 then
      ids[id], uniques[unique] = true, unique ~= ''
      count = count + 1
    end
  end
  if count > most then return {0} end
end

local reply, ready = {}, false
local first = tonumber(redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2])
local sooner = false
for place = 3, #ARGV, 5 do
  local id, priority, unique = ARGV[place], ARGV[place + 2], ARGV[place + 3]
  local code, owner = known(id, unique)
  if code == 1 then
    local number = redis.call('HINCRBY', KEYS[8], 'number', 1)
    local in_line = whole(priority * 8796093022208 + number)
    local due = tonumber(ARGV[place + 1]) + (after and now or 0)
    redis.call('HSET', KEYS[4], id, ARGV[place + 4])
    redis.call('HSET', KEYS[5], id, in_line .. '|0|0|0||' .. whole(now) .. '|' .. priority .. '|' .. unique)
    if unique ~= '' then redis.call('HSET', KEYS[6], unique, id) end
    redis.call('HINCRBY', KEYS[8], 'enqueued', 1)
    if due <= now then
      redis.call('ZADD', KEYS[1], in_line, id)
      ready = true
    else
      redis.call('ZADD', KEYS[2], whole(due), id)
      sooner = sooner or not first or due < first
    end
  end
  reply[#reply + 1] = code
  reply[#reply + 1] = owner
end
-- Also for one that is due before all others: who sleeps until the first of them must know.
if (ready or sooner) and redis.call('HEXISTS', KEYS[8], 'paused') == 0 then
  if redis.call('LLEN', KEYS[9]) == 0 then redis.call('RPUSH', KEYS[9], 1) end
  redis.call('PEXPIRE', KEYS[9], 60000)
end
return reply
