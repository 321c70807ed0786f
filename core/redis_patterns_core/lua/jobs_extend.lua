-- Prolong the leases of jobs, each only by who has it, which its token shows.
--
-- KEYS[1]  sorted set: jobs that somebody works on, by when their leases end (milliseconds since the epoch)
-- KEYS[2]  hash: what is known of each; see jobs_enqueue
-- KEYS[3]  hash: jobs that should be given up by who works on them
-- KEYS[4]  hash: workers, by name: until when they are taken to be there, and what they say of themselves
-- ARGV     lease (milliseconds), the worker, what it says of itself, then for each job: id, token
-- Reply    for each: 1 it is, 2 and should be given up, 0 it is not the caller's any more
local lease = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends, reply = string.format('%.0f', now + lease), {}
redis.call('HSET', KEYS[4], ARGV[2], ends .. ' ' .. ARGV[3])
redis.call('PEXPIRE', KEYS[4], string.format('%.0f', 2 * lease))
-- Those that are there no more, and whose names may never come again: of two by chance, at each beat.
local some = redis.call('HRANDFIELD', KEYS[4], 2, 'WITHVALUES')
for place = 1, #some, 2 do
  if tonumber(string.match(some[place + 1], '^%d+')) <= now then redis.call('HDEL', KEYS[4], some[place]) end
end
for place = 4, #ARGV, 2 do
  local id, code = ARGV[place], 0
  local record = redis.call('HGET', KEYS[2], id)
  local held = record and string.match(record, '^[^|]*|%d+|%d+|%d+|([^|]*)|')
  -- Even one that is over, if nobody has noticed: it is nobody else's yet.
  if held == ARGV[place + 1] and redis.call('ZSCORE', KEYS[1], id) then
    redis.call('ZADD', KEYS[1], ends, id)
    code = redis.call('HEXISTS', KEYS[3], id) == 1 and 2 or 1
  end
  reply[#reply + 1] = code
end
return reply
