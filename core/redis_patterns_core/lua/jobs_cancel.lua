-- Take a job back: at once, unless somebody works on it, who then is told when it prolongs its lease.
--
-- KEYS[1]  sorted set: jobs that are ready
-- KEYS[2]  sorted set: jobs that are for later
-- KEYS[3]  sorted set: jobs that somebody works on
-- KEYS[4]  hash: payloads
-- KEYS[5]  hash: what is known of each; see jobs_enqueue
-- KEYS[6]  hash: ids by unique keys
-- KEYS[7]  hash: counts
-- KEYS[8]  hash: the last errors of jobs
-- KEYS[9]  hash: jobs that should be given up by who works on them
-- KEYS[10] hash: how far jobs have come
-- ARGV     id
-- Reply    1 it is gone, 2 who works on it will be told, 0 there is no such job, or it is dead
local id = ARGV[1]
if redis.call('ZSCORE', KEYS[3], id) then
  redis.call('HSET', KEYS[9], id, 1)
  return 2
end
if redis.call('ZREM', KEYS[1], id) + redis.call('ZREM', KEYS[2], id) == 0 then return 0 end
local record = redis.call('HGET', KEYS[5], id)
local unique = record and string.match(record, '^[^|]*|%d+|%d+|%d+|[^|]*|%d+|%-?%d+|(.*)$')
if unique and unique ~= '' and redis.call('HGET', KEYS[6], unique) == id then redis.call('HDEL', KEYS[6], unique) end
redis.call('HDEL', KEYS[4], id)
redis.call('HDEL', KEYS[5], id)
redis.call('HDEL', KEYS[8], id)
redis.call('HDEL', KEYS[9], id)
redis.call('HDEL', KEYS[10], id)
redis.call('HINCRBY', KEYS[7], 'cancelled', 1)
return 1
