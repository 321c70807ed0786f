-- Let dead letters be saved after all: those of the keys that are named, or any.
--
-- KEYS[1]  hash: what is to be saved, by key
-- KEYS[2]  sorted set: the keys by when they are due (milliseconds since the epoch)
-- KEYS[3]  hash: the dead letters, by key; see behind_settle
-- ARGV     how many at most where no key is named, the keys
-- Reply    how many are due now; of keys that were written again the dead letter is dropped, and what is no write stays
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local keys, most = {}, tonumber(ARGV[1])
for place = 2, #ARGV do keys[#keys + 1] = ARGV[place] end
local cursor = #keys == 0 and '0' or nil
while cursor and #keys < most do
  local found = redis.call('HSCAN', KEYS[3], cursor, 'COUNT', most)
  for place = 1, #found[2], 2 do
    if #keys < most then keys[#keys + 1] = found[2][place] end
  end
  cursor = found[1] ~= '0' and found[1] or nil
end

local due = 0
for _, key in ipairs(keys) do
  local letter = redis.call('HGET', KEYS[3], key)
  local number, length, rest = string.match(letter or '', '^(%d+):%d+:e(%d+):(.*)$')
  -- Letters of before errors were kept have none.
  local what = number and string.sub(rest, length + 1)
  if not number then number, what = string.match(letter or '', '^(%d+):%d+:(.*)$') end
  if what and string.match(what, '^[sd]') then
    redis.call('HDEL', KEYS[3], key)
    if redis.call('HSETNX', KEYS[1], key, number .. ':' .. now .. ':' .. what) == 1 then
      redis.call('ZADD', KEYS[2], now, key)
      due = due + 1
    end
  end
end
return due
