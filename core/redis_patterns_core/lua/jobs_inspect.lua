-- Tell how many jobs there are of each state, how long the first has been ready, and who works.
--
-- KEYS[1]  sorted set: jobs that are ready
-- KEYS[2]  sorted set: jobs that are for later, by when they are due (milliseconds since the epoch)
-- KEYS[3]  sorted set: jobs that somebody works on, by when their leases end
-- KEYS[4]  sorted set: jobs that are dead
-- KEYS[5]  hash: what is known of each; see jobs_enqueue
-- KEYS[6]  hash: whether it is paused, counts
-- KEYS[7]  hash: workers
-- Reply    {now, ready, for later, worked on, dead, when the first that is ready was enqueued or 0, when the next is due or
--          0, when the next lease ends or 0, {count, number, ...}, {worker, what it says, ...}}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local enqueued = 0
local id = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
local record = id and redis.call('HGET', KEYS[5], id)
if record then enqueued = tonumber(string.match(record, '^[^|]*|%d+|%d+|%d+|[^|]*|(%d+)|')) or 0 end
local function first(key) return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) or 0 end
local reply = {now}
for place = 1, 4 do
  local key = KEYS[place]
  reply[#reply + 1] = redis.call('ZCARD', key)
end
reply[6], reply[7], reply[8] = enqueued, first(KEYS[2]), first(KEYS[3])
reply[9], reply[10] = redis.call('HGETALL', KEYS[6]), redis.call('HGETALL', KEYS[7])
return reply
