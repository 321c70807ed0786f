-- Wake one of those who wait for jobs.
--
-- KEYS[1]  list: one element wakes a worker
-- Reply    1
if redis.call('LLEN', KEYS[1]) == 0 then redis.call('RPUSH', KEYS[1], 1) end
-- Long after it was to wake somebody. Whoever adds to it prolongs it, or it could end between two who look.
redis.call('PEXPIRE', KEYS[1], 60000)
return 1
