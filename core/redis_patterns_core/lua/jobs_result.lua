-- Give what a job has given, or why it is dead. What an earlier run has given of one that is to be done again is forgotten.
--
-- KEYS[1]  list: its result; see jobs_settle
-- KEYS[2]  hash: what is known of each; see jobs_enqueue
-- KEYS[3]  sorted set: jobs that are dead
-- KEYS[4]  hash: the last errors of jobs
-- ARGV     id
-- Reply    + and the result, - and why it is dead, or nothing where there is none yet
local id = ARGV[1]
if redis.call('ZSCORE', KEYS[3], id) then return '-' .. (redis.call('HGET', KEYS[4], id) or '') end
if redis.call('HEXISTS', KEYS[2], id) == 0 then return redis.call('LINDEX', KEYS[1], 0) end
-- Forgotten only now, as who puts jobs need not know of results then, and who waits for the next must not find this one.
redis.call('DEL', KEYS[1])
return false
