-- Tell how many payloads there are of jobs of which nothing else is known.
--
-- KEYS[1]  hash: payloads
-- KEYS[2]  hash: what is known of each job; see jobs_enqueue
-- Reply    how many; none, unless somebody has written here by other means
return math.max(0, redis.call('HLEN', KEYS[1]) - redis.call('HLEN', KEYS[2]))
