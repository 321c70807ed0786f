-- Let no job be taken, or let them be taken again.
--
-- KEYS[1]  hash: whether it is paused
-- KEYS[2]  list: one element wakes a worker
-- ARGV     1 to pause, 0 to go on
-- Reply    1 it was otherwise before, 0 it was so already
if ARGV[1] == '1' then return redis.call('HSETNX', KEYS[1], 'paused', 1) end
if redis.call('LLEN', KEYS[2]) == 0 then redis.call('RPUSH', KEYS[2], 1) end
redis.call('PEXPIRE', KEYS[2], 60000)
return redis.call('HDEL', KEYS[1], 'paused')
