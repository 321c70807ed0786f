-- Make a board of others; what it was before is gone, and its members' data with it.
--
-- KEYS[1]  sorted set: the board
-- KEYS[2]  sorted set: its distinct scores, where ranks are dense
-- KEYS[3]  hash: its members' data
-- KEYS[i]  sorted set: from the fourth on, the others
-- ARGV     'highest' or 'lowest'; 'ordinal', 'competition' or 'dense'; how many members there may be (0 any number); 'in' or
--          'at' for the next; after how long or when it expires (milliseconds; 0 never); how many members the others may
--          have together; 'SUM', 'MIN' or 'MAX'; for each of the others its weight
-- Reply    how many members it has; or, with nothing written: -1 it would have expired, -2 a score could reach 2^53,
--          -4 the others have too many members
local call, abs = redis.call, math.abs
local highest, dense, most, expires = ARGV[1] == 'highest', ARGV[2] == 'dense', tonumber(ARGV[3]), tonumber(ARGV[5])
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[4] == 'in' and expires > 0 then expires = now + expires end
if expires > 0 and expires <= now then return -1 end

local words, size, largest = {#KEYS - 3}, 0, 0
for place = 4, #KEYS do
  local key, weight = KEYS[place], ARGV[place + 4]
  size = size + call('ZCARD', key)
  local low = call('ZRANGEBYSCORE', key, '(-inf', '(+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local high = call('ZREVRANGEBYSCORE', key, '(+inf', '(-inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local reach = low and math.max(abs(low), abs(high)) * abs(weight) or 0
  if ARGV[7] == 'SUM' then
    largest = largest + reach
  elseif tonumber(weight) ~= 1 then
    largest = math.max(largest, reach)
  end
  words[#words + 1] = key
end
if size > tonumber(ARGV[6]) then return -4 end
-- One board alone, as it is, is but copied. What is 2^53 here may be more, and have lost it.
if largest >= 9007199254740992 and (#KEYS > 4 or tonumber(ARGV[8]) ~= 1) then return -2 end

words[#words + 1] = 'WEIGHTS'
for place = 8, #ARGV do words[#words + 1] = ARGV[place] end
words[#words + 1] = 'AGGREGATE'
words[#words + 1] = ARGV[7]
local before = call('PTTL', KEYS[1])
local spread = table.unpack or unpack
local members = call('ZUNIONSTORE', KEYS[1], spread(words))
call('DEL', KEYS[2])
call('DEL', KEYS[3])
if most > 0 and members > most then
  if highest then
    call('ZREMRANGEBYRANK', KEYS[1], 0, members - most - 1)
  else
    call('ZREMRANGEBYRANK', KEYS[1], most, -1)
  end
  members = most
end
if dense then
  local last = nil
  for start = 0, members - 1, 1000 do
    local rows, scores = call('ZRANGE', KEYS[1], start, start + 999, 'WITHSCORES'), {}
    for place = 2, #rows, 2 do
      -- Nothing times less than nothing is -0, which is the same score.
      local score = rows[place] == '-0' and '0' or rows[place]
      if score ~= last then
        scores[#scores + 1] = score
        scores[#scores + 1] = score
      end
      last = score
    end
    if #scores > 0 then call('ZADD', KEYS[2], spread(scores)) end
  end
end
if expires > 0 then
  if ARGV[4] == 'at' and before >= 0 then expires = math.max(expires, now + before) end
  for place = 1, 2 do
    local key = KEYS[place]
    call('PEXPIREAT', key, string.format('%.0f', expires))
  end
end
return members
