-- Put items that could not be handled back into their queue, the oldest first; for their records see queue_fail.
--
-- KEYS[1]  list: the records
-- KEYS[2]  list, or with a priority a sorted set: the queue
-- KEYS[3]  string: how many items a queue with priorities has had
-- ARGV     how many at most, their priority or ''
-- Reply    how many there were
local moved = 0
while moved < tonumber(ARGV[1]) do
  local record = redis.call('LPOP', KEYS[1])
  if not record then break end
  local item = string.sub(record, 20 + tonumber(string.sub(record, 14, 19)))
  if ARGV[2] == '' then
    redis.call('RPUSH', KEYS[2], item)
  else
    local number = redis.call('INCR', KEYS[3])
    local score = string.format('%.0f', ARGV[2] * 8796093022208 + number)
    redis.call('ZADD', KEYS[2], score, string.format('%016.0f', number) .. item)
  end
  moved = moved + 1
end
return moved
