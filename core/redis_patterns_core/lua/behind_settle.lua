-- Say what became of saving keys: what was saved is done with, unless it was written anew meanwhile; what was not is due
-- again later, or goes to the dead letters.
--
-- A dead letter is SEQUENCE:AT:eLENGTH:ERROR (when it failed, the length of the error), the operation and the payload; the
-- operation is x where it is no write at all.
--
-- KEYS[1]  hash: what is to be saved, by key
-- KEYS[2]  sorted set: the keys by when they are due (milliseconds since the epoch)
-- KEYS[3]  hash: who is saving, by key: UNTIL:TOKEN
-- KEYS[4]  hash: how often saving has failed, by key
-- KEYS[5]  hash: the dead letters, by key
-- ARGV     token, how long what was written anew may wait (milliseconds), the least and the most time until what failed
--          is due again (milliseconds), how often it may fail, 1 where they were saved, what was wrong, and of each its
--          key and sequence, which is empty where it has none
-- Reply    {how many are done with, how many went to the dead letters}; those of somebody else by now are left alone
local token, delay, saved = ARGV[1], ARGV[2], ARGV[6] == '1'
local least, most, tries, wrong = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[7]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end

local done, dead = 0, 0
for place = 8, #ARGV, 2 do
  local key, sequence = ARGV[place], ARGV[place + 1]
  local saving = redis.call('HGET', KEYS[3], key)
  if saving and string.match(saving, '^%d+:(.*)$') == token then
    redis.call('HDEL', KEYS[3], key)
    local waiting = redis.call('HGET', KEYS[1], key)
    local same = waiting and string.match(waiting, '^%d*') == sequence
    if saved then
      redis.call('HDEL', KEYS[4], key)
      -- One that died before is older.
      redis.call('HDEL', KEYS[5], key)
      done = done + 1
      if same then
        redis.call('HDEL', KEYS[1], key)
        redis.call('ZREM', KEYS[2], key)
      elseif waiting then
        -- It has waited no time yet.
        redis.call('HSET', KEYS[1], key, (string.gsub(waiting, '^(%d+):%d+:', '%1:' .. whole(now) .. ':', 1)))
        redis.call('ZADD', KEYS[2], whole(now + delay), key)
      end
    else
      local failed = redis.call('HINCRBY', KEYS[4], key, 1)
      if failed >= tries and same then
        local number, what = string.match(waiting, '^(%d+):%d+:([sd].*)$')
        local head = (number or 0) .. ':' .. whole(now) .. ':e' .. #wrong .. ':' .. wrong
        redis.call('HSET', KEYS[5], key, head .. (what or 'x' .. waiting))
        redis.call('HDEL', KEYS[1], key)
        redis.call('HDEL', KEYS[4], key)
        redis.call('ZREM', KEYS[2], key)
        dead = dead + 1
      else
        redis.call('ZADD', KEYS[2], whole(now + math.min(most, least * 2 ^ math.min(failed - 1, 30))), key)
      end
    end
  end
end
return {done, dead}
