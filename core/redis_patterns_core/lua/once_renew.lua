-- Let a claim run from now on, for as long as it is this token's: also where it has run out, and nobody else has come.
--
-- KEYS[1]  hash: see once_claim
-- ARGV     token, lease (milliseconds; 0 ends the claim), how long it is remembered after the lease (milliseconds)
-- Reply    1 it runs, 0 it is another's, it was done, or it was forgotten
if redis.call('HGET', KEYS[1], 't') ~= ARGV[1] then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'e', string.format('%.0f', now + ARGV[2]))
return redis.call('PEXPIRE', KEYS[1], ARGV[2] + ARGV[3])
