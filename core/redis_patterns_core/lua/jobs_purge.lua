-- Throw jobs of one state away, which nobody works on; so many at a time.
--
-- KEYS[1]  sorted set: the jobs
-- KEYS[2]  hash: payloads
-- KEYS[3]  hash: what is known of each; see jobs_enqueue
-- KEYS[4]  hash: ids by unique keys
-- KEYS[5]  hash: the last errors of jobs
-- KEYS[6]  hash: counts
-- KEYS[7]  hash: how far jobs have come
-- KEYS[8]  hash: jobs that should be given up by who works on them
-- ARGV     how many at most
-- Reply    how many there were
local popped = redis.call('ZPOPMIN', KEYS[1], ARGV[1])
for place = 1, #popped, 2 do
  local id = popped[place]
  local record = redis.call('HGET', KEYS[3], id)
  local unique = record and string.match(record, '^[^|]*|%d+|%d+|%d+|[^|]*|%d+|%-?%d+|(.*)$')
  if unique and unique ~= '' and redis.call('HGET', KEYS[4], unique) == id then redis.call('HDEL', KEYS[4], unique) end
  redis.call('HDEL', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
  redis.call('HDEL', KEYS[5], id)
  redis.call('HDEL', KEYS[7], id)
  redis.call('HDEL', KEYS[8], id)
  redis.call('HINCRBY', KEYS[6], 'purged', 1)
end
return #popped / 2
